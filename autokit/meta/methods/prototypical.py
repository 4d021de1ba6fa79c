"""Prototypical networks."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from autokit._backend import keras, tf
from autokit.meta.distances import COSINE, EUCLIDEAN, unit_rows, unit_tensor
from autokit.meta.methods.inner import HEAD
from autokit.meta.methods.metric import UNIT, Metric
from autokit.meta.protocols import Support


@dataclass(kw_only=True, eq=False, repr=False)
class Prototypical(Metric):
    """Each class is the mean of its embeddings; a row belongs to the nearest.

    ::

        c_k = mean_{i: y_i = k} f(x_i)
        p(y = k | x) = softmax_k(-|f(x) - c_k|^2 / temperature)        # or, with cosine,
        p(y = k | x) = softmax_k(cos(f(x), c_k) / temperature)

    ``-|f - c|^2 = 2 f.(c - m) - (|c|^2 - |m|^2) + ...``, where m is the mean of all prototypes and
    what is left out is the same for all classes: what is learnt about new ones is one dense layer.

    Parameters
    ----------
    distance : {"euclidean", "cosine"}, default="euclidean"
        The squared Euclidean distance, or the cosine.
    temperature : float > 0, default=None
        None is 1 for the distance and 0.1 for the cosine.

    References
    ----------
    Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", 2017, equations 1 and 2.
    The temperature is not theirs. They train on more classes than they test on: set `n_way`.

    Examples
    --------
    >>> from autokit.meta import Prototypical
    >>> Prototypical(distance="cosine").scale
    10.0
    """

    distance: str = EUCLIDEAN
    temperature: float | None = None

    _parameter_constraints: ClassVar[dict] = {
        "distance": [StrOptions({EUCLIDEAN, COSINE})],
        "temperature": [None, Interval(Real, 0, None, closed="neither")],
    }

    @property
    def scale(self) -> float:
        """What similarities are multiplied by."""
        default = 1.0 if self.distance == EUCLIDEAN else 0.1
        return 1.0 / float(default if self.temperature is None else self.temperature)

    def compare(self, view, extras, support, y, query):
        sums = tf.math.unsorted_segment_sum(support, y, view.layout.n_way)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(support[:, :1]), y, view.layout.n_way)
        return self.similarities(query, sums / tf.maximum(counts, 1.0))

    def similarities(self, embedding, prototypes):
        """Logits of shape (batch, n_classes), in TensorFlow operations.

        Parameters
        ----------
        embedding : tf.Tensor of shape (batch, n_features)
        prototypes : tf.Tensor of shape (n_classes, n_features)
        """
        if self.distance == COSINE:
            product = tf.matmul(unit_tensor(embedding), unit_tensor(prototypes), transpose_b=True)
            return self.scale * product
        apart, bias = _centred(prototypes, tf.reduce_mean(prototypes, axis=0), tf.reduce_sum)
        return self.scale * (2.0 * tf.matmul(embedding, apart, transpose_b=True) + bias)

    def layers(self, embedding, learnt, support, n_outputs):
        prototypes = self.kept(support).x
        if self.distance == COSINE:
            embedding = keras.layers.UnitNormalization(name=UNIT)(embedding)
            values = [self.scale * unit_rows(prototypes).T]
            return keras.layers.Dense(n_outputs, use_bias=False, name=HEAD)(embedding), values
        prototypes = prototypes.astype(np.float64)
        apart, bias = _centred(prototypes, prototypes.mean(axis=0), np.sum)
        values = [2.0 * self.scale * apart.T, self.scale * bias]
        return keras.layers.Dense(n_outputs, name=HEAD)(embedding), values

    def kept(self, support):
        """The prototypes, each with the number of rows that it is the mean of."""
        n_classes = int(support.y.max()) + 1
        weight = np.bincount(support.y, support.weight, n_classes)
        sums = np.zeros((n_classes, support.x.shape[1]))
        np.add.at(sums, support.y, support.weight[:, None] * support.x.astype(np.float64))
        means = (sums / weight[:, None]).astype(np.float32)
        return Support(means, np.arange(n_classes, dtype=np.int32), weight)

    def by_prototypes(self):
        return self

    def embedder(self, model: keras.Model) -> keras.Model:
        """What of an adapted model, or of a copy, gives the embeddings that prototypes are of."""
        embedding = model.outputs[0]._keras_history.operation.input
        if self.distance == COSINE:
            embedding = embedding._keras_history.operation.input
        return keras.Model(model.inputs[0], embedding)


def _centred(prototypes, centre, add_up):
    """Prototypes seen from their centre, and what is added to twice the products with these.

    With |c|^2 itself the products are large and alike: for the default encoder of images the
    probabilities were off by 1e-4 in float32, and are by 5e-6 so.
    """
    apart = prototypes - centre
    return apart, -add_up(apart * (prototypes + centre), axis=1)
