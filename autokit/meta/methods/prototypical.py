"""Prototypical networks."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from autokit._backend import keras, tf
from autokit.meta.distances import COSINE, EUCLIDEAN, unit_rows, unit_tensor
from autokit.meta.methods.metric import Metric
from autokit.meta.protocols import Support


@dataclass(kw_only=True, eq=False, repr=False)
class Prototypical(Metric):
    """Each class is the mean of its embeddings; a row belongs to the nearest.

    ::

        c_k = mean_{i: y_i = k} f(x_i)
        p(y = k | x) = softmax_k(-|f(x) - c_k|^2 / temperature)        # or, with cosine,
        p(y = k | x) = softmax_k(cos(f(x), c_k) / temperature)

    ``-|f - c|^2 = 2 f.c - |c|^2 - |f|^2``, and the last term is the same for all classes: what is
    learnt about new classes is one dense layer.

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
        product = tf.matmul(embedding, prototypes, transpose_b=True)
        return self.scale * (2.0 * product - tf.reduce_sum(tf.square(prototypes), axis=1))

    def layers(self, embedding, learnt, support, n_outputs):
        prototypes = self.kept(support).x
        if self.distance == COSINE:
            embedding = keras.layers.UnitNormalization()(embedding)
            values = [self.scale * unit_rows(prototypes).T]
            return keras.layers.Dense(n_outputs, use_bias=False, name="outputs")(embedding), values
        bias = -self.scale * np.square(prototypes).sum(axis=1)
        values = [2.0 * self.scale * prototypes.T, bias]
        return keras.layers.Dense(n_outputs, name="outputs")(embedding), values

    def kept(self, support):
        """The prototypes, each with the number of rows that it is the mean of."""
        n_classes = int(support.y.max()) + 1
        weight = np.bincount(support.y, support.weight, n_classes)
        sums = np.zeros((n_classes, support.x.shape[1]))
        np.add.at(sums, support.y, support.weight[:, None] * support.x.astype(np.float64))
        means = (sums / weight[:, None]).astype(np.float32)
        return Support(means, np.arange(n_classes, dtype=np.int32), weight)
