"""Matching networks."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit._backend import keras, tf
from autokit.meta.distances import unit_rows, unit_tensor
from autokit.meta.methods.metric import Metric

_LEAST = 1e-7  # of a probability, as in Keras' cross-entropies


@dataclass(kw_only=True, eq=False, repr=False)
class Matching(Metric):
    """Each support row votes for its class, by its similarity to the row that is asked.

    ::

        a(x, x_i) = softmax_i(cos(f(x), f(x_i)) / temperature)
        p(y = k | x) = sum_{i: y_i = k} a(x, x_i)

    Parameters
    ----------
    temperature : float > 0, default=0.1
        Not in the paper (it is 1 there): cosines lie within [-1, 1], and their softmax without
        it is nearly flat.

    References
    ----------
    Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, "Matching Networks for One Shot
    Learning", 2016, equations 1 and 2.

    Examples
    --------
    >>> from autokit.meta import Matching
    >>> Matching().temperature
    0.1
    """

    temperature: float = 0.1

    numbers: ClassVar[tuple[str, ...]] = ("temperature",)
    gives_probabilities: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {
        "temperature": [Interval(Real, 0, None, closed="neither")]
    }

    def compare(self, view, extras, support, y, query):
        cosines = tf.matmul(unit_tensor(query), unit_tensor(support), transpose_b=True)
        attention = tf.nn.softmax(cosines / view.numbers["temperature"])
        votes = tf.matmul(attention, tf.one_hot(y, view.layout.n_way))
        return tf.math.log(tf.maximum(votes, _LEAST))

    def layers(self, embedding, learnt, support, n_outputs):
        n_rows = len(support.x)
        x = keras.layers.UnitNormalization()(embedding)
        x = keras.layers.Dense(n_rows, "softmax", name="attention")(x)
        votes = keras.layers.Dense(n_outputs, use_bias=False, name="outputs")(x)
        # a row that stands for several votes as often: exp(log(weight)) in the softmax
        values = [
            unit_rows(support.x).T / self.temperature,
            np.log(support.weight),
            np.eye(n_outputs)[support.y],
        ]
        return votes, values
