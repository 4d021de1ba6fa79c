"""The baseline: an ordinary classifier's features, and a new last layer."""

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
from autokit.meta.methods.prototypical import Prototypical
from autokit.training import Step, value_and_gradient

CENTROID, LINEAR = "centroid", "linear"
_STEPS = 200


@dataclass(kw_only=True, eq=False, repr=False)
class FineTune(Metric):
    """Train a classifier of all classes as usual, freeze its features, learn a last layer anew.

    What every method of meta-learning must be compared with. It sees as many rows as the
    episodes of the others have, drawn from all classes alike.

    Parameters
    ----------
    head : {"centroid", "linear"}, default="centroid"
        "centroid": the class whose mean feature is nearest (as `Prototypical` on these
        features). "linear": logistic regression on features of length 1.
    distance : {"euclidean", "cosine"}, default="cosine"
        Of the centroids.
    l2 : float >= 0, default=0.001
        ``l2 / 2 |W|^2`` is added to the mean loss of the linear head.

    References
    ----------
    Chen, Liu, Kira, Wang, Huang, "A Closer Look at Few-shot Classification", 2019, section 3.2.
    The linear head: Tian et al., "Rethinking Few-Shot Image Classification: a Good Embedding Is
    All You Need?", 2020, section 3.2.

    Examples
    --------
    >>> from autokit.meta import FineTune
    >>> FineTune(head="linear").episodic
    False
    """

    head: str = CENTROID
    distance: str = COSINE
    l2: float = 1e-3

    episodic: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict] = {
        "head": [StrOptions({CENTROID, LINEAR})],
        "distance": [StrOptions({EUCLIDEAN, COSINE})],
        "l2": [Interval(Real, 0, None, closed="left")],
    }

    def network(self, encoder, n_outputs):
        outputs = keras.layers.Dense(n_outputs, name=HEAD)(encoder.outputs[0])
        return keras.Model(encoder.inputs[0], outputs)

    def meets(self, network):
        """The features that are frozen."""
        return keras.Model(network.inputs[0], network.get_layer(HEAD).input)

    def meta_gradient(self, view, params, buffers, tasks):
        def objective(params, buffers, tasks):
            outputs, buffers = view.networks.learning(params, buffers, _flat(tasks.query_x))
            loss = view.loss(_flat(tasks.query_y), outputs)
            shape = tf.concat([tf.shape(tasks.query_y), tf.shape(outputs)[1:]], axis=0)
            return Step(loss, buffers, tf.reshape(outputs, shape))

        return value_and_gradient(objective)(params, buffers, tasks)

    def compare(self, view, extras, support, y, query):
        if self.head == CENTROID:
            return self._centroids().compare(view, extras, support, y, query)
        weight = tf.ones_like(support[:, 0])
        kernel, bias = _logistic(unit_tensor(support), y, weight, view.layout.n_way, self.l2)
        return tf.matmul(unit_tensor(query), kernel) + bias

    def layers(self, embedding, learnt, support, n_outputs):
        if self.head == CENTROID:
            return self._centroids().layers(embedding, learnt, support, n_outputs)
        x = keras.layers.UnitNormalization(name=UNIT)(embedding)
        features, weight = unit_rows(support.x), np.float32(support.weight)
        given = [tf.constant(part) for part in (features, support.y, weight)]
        fit = tf.function(_logistic, autograph=False)
        values = fit.get_concrete_function(*given, n_outputs, self.l2)(*given)
        return keras.layers.Dense(n_outputs, name=HEAD)(x), [v.numpy() for v in values]

    def kept(self, support):
        return self._centroids().kept(support) if self.head == CENTROID else support

    def by_prototypes(self):
        return self._centroids() if self.head == CENTROID else None

    def _centroids(self) -> Prototypical:
        return Prototypical(distance=self.distance)


def _flat(tensor):
    return tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], axis=0))


def _logistic(x, y, weight, n_classes: int, l2: float):
    """Kernel and bias of a logistic regression on unit vectors, by Nesterov's method.

    The gradient is Lipschitz with (|x|^2 + 1) / 2 + l2, about 1: so is the step. With curvature
    of at least l2, more momentum than (1 - r) / (1 + r) would swing past the optimum
    (Nesterov 2004, section 2.2, r = sqrt(l2 / (1 + l2))).
    """
    root = (l2 / (1.0 + l2)) ** 0.5
    share = (weight / tf.reduce_sum(weight))[:, None]
    both = tf.concat([x, tf.ones_like(x[:, :1])], axis=1)
    target = tf.one_hot(y, n_classes)
    decay = tf.concat([tf.fill((tf.shape(x)[1], 1), l2), tf.zeros((1, 1))], axis=0)

    def step(i, w, before):
        t = tf.cast(i, tf.float32)
        ahead = w + tf.minimum(t / (t + 3.0), (1.0 - root) / (1.0 + root)) * (w - before)
        error = share * (tf.nn.softmax(tf.matmul(both, ahead)) - target)
        slope = tf.matmul(both, error, transpose_a=True) + decay * ahead
        return i + 1, ahead - slope / (1.0 + l2), w

    zeros = tf.zeros((tf.shape(both)[1], n_classes))
    _, w, _ = tf.while_loop(lambda i, *_: i < _STEPS, step, (0, zeros, zeros))
    return w[:-1], w[-1]
