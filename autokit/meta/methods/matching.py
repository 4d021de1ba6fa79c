"""Matching networks."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit._backend import keras, tf
from autokit.layers.reader import MemoryReader, lstm_step, read
from autokit.meta.distances import unit_rows, unit_tensor
from autokit.meta.methods.inner import HEAD
from autokit.meta.methods.metric import UNIT, Metric

_LEAST = 1e-7  # of a probability, as in Keras' cross-entropies
_PER_LSTM = 3  # kernel, recurrent kernel, bias


@dataclass(kw_only=True, eq=False, repr=False)
class Matching(Metric):
    """Each support row votes for its class, by its similarity to the row that is asked.

    ::

        a(x, x_i) = softmax_i(cos(f(x), g(x_i)) / temperature)
        p(y = k | x) = sum_{i: y_i = k} a(x, x_i)

    where f and g are one encoder, or with `full_context` see the whole support set: an LSTM runs
    over it in both directions for g, and another looks at it `n_reads` times for f.

    Parameters
    ----------
    temperature : float > 0, default=0.1
        Not in the paper (it is 1 there): cosines lie within [-1, 1], and their softmax without
        it is nearly flat.
    full_context : bool, default=False
    n_reads : int, default=3

    References
    ----------
    Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra, "Matching Networks for One Shot
    Learning", 2016, equations 1 and 2; full context: section 2.1.2 and appendix A. Support rows
    are in the order of their classes.

    Examples
    --------
    >>> from autokit.meta import Matching
    >>> Matching(full_context=True).n_reads
    3
    """

    temperature: float = 0.1
    full_context: bool = False
    n_reads: int = 3

    numbers: ClassVar[tuple[str, ...]] = ("temperature",)
    gives_probabilities: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "full_context": ["boolean"],
        "n_reads": [Interval(Integral, 1, None, closed="left")],
    }

    def extras(self, network, seed):
        """Of three LSTMs: over the support set, forwards and backwards, and of the reader."""
        if not self.full_context:
            return []
        n = network.output_shape[-1]
        rng = np.random.default_rng(seed)
        return [part for inner in (n, n, 2 * n) for part in _first_lstm(rng, n, inner)]

    def compare(self, view, extras, support, y, query):
        if self.full_context:
            support = in_context(support, extras)
            query = read(query, support, *extras[2 * _PER_LSTM :], self.n_reads)
        cosines = tf.matmul(unit_tensor(query), unit_tensor(support), transpose_b=True)
        attention = tf.nn.softmax(cosines / view.numbers["temperature"])
        votes = tf.matmul(attention, tf.one_hot(y, view.layout.n_way))
        return tf.math.log(tf.maximum(votes, _LEAST))

    def layers(self, embedding, learnt, support, n_outputs):
        n_rows, rows, x, values = len(support.x), support.x, embedding, []
        if self.full_context:
            extras = learnt.extras
            rows = in_context(tf.constant(rows), [tf.constant(e) for e in extras]).numpy()
            x = MemoryReader(n_rows, self.n_reads, name="few_shot_reader")(x)
            values = [rows, *extras[2 * _PER_LSTM :]]
        x = keras.layers.UnitNormalization(name=UNIT)(x)
        x = keras.layers.Dense(n_rows, "softmax", name="few_shot_attention")(x)
        votes = keras.layers.Dense(n_outputs, use_bias=False, name=HEAD)(x)
        # a row that stands for several votes as often: exp(log(weight)) in the softmax
        values += [
            unit_rows(rows).T / self.temperature,
            np.log(support.weight),
            np.eye(n_outputs)[support.y],
        ]
        return votes, values

    def kept(self, support):
        """The rows in the order of their classes, as in training."""
        order = np.argsort(support.y, kind="stable")
        return type(support)(*(part[order] for part in support))


def in_context(support: tf.Tensor, extras: list) -> tf.Tensor:
    """Support embeddings with what an LSTM makes of those before and after them.

    ``g(x_i) = forwards_i + backwards_i + x_i`` (equation 7 in the paper's appendix A.2).

    Parameters
    ----------
    support : tf.Tensor of shape (n_rows, n_features)
    extras : list of tf.Tensor
        As `Matching.extras`.
    """

    def over(rows, weights):
        def step(state, row):
            output, cell = lstm_step(row[None], *state, *weights)
            return output, cell

        zeros = tf.zeros_like(rows[:1])
        outputs, _ = tf.scan(step, rows, (zeros, zeros))
        return outputs[:, 0]

    forwards = over(support, extras[:_PER_LSTM])
    backwards = over(support[::-1], extras[_PER_LSTM : 2 * _PER_LSTM])[::-1]
    return forwards + backwards + support


def _first_lstm(rng: np.random.Generator, n: int, inner: int) -> list[np.ndarray]:
    """Glorot's uniform weights; the gate that forgets begins open, as in Keras."""
    parts = []
    for n_in in (n, inner):
        most = np.sqrt(6.0 / (n_in + 4 * n))
        parts.append(rng.uniform(-most, most, (n_in, 4 * n)).astype(np.float32))
    return [*parts, np.repeat(np.float32([0, 1, 0, 0]), n)]
