"""An LSTM over decisions: what was decided before says how likely each option is now."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from autokit._backend import keras, tf
from autokit.nas.strategies.draws import MAX_OPTIONS
from autokit.training import adam, apply_changes, seeded

FORBIDDEN = -1e9


class Policy:
    """Samples sequences of decisions, and learns which were good.

    ::

        x      = embedding[last choice] + embedding[number of options]
        h, c   = lstm(x, h, c)
        logits = 2.5 tanh(dense(h) / 5),  -inf beyond the number of options

    The length of a sequence, and the number of options of each decision, may follow from the
    decisions before. All policies of one size share the compiled functions; none is traced again
    for another length.

    Parameters
    ----------
    seed : int
        Of the weights.
    units : int, default=64
    learning_rate : float, default=0.01
        Of Adam.
    entropy_weight : float, default=0.02

    References
    ----------
    Zoph, Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017, section 3;
    Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018, for the
    bounded logits.
    """

    def __init__(
        self,
        seed: int,
        *,
        units: int = 64,
        learning_rate: float = 0.01,
        entropy_weight: float = 0.02,
    ):
        self._program = _program(units, learning_rate, entropy_weight)
        with seeded(seed):
            self._params = [tf.convert_to_tensor(v) for v in _network(units).trainable_variables]
        self._optimizer = self._program.rule.init(self._params)
        self._units = units

    def start(self) -> list:
        """The state before the first decision: what was chosen last, h and c."""
        return [tf.zeros((1,), tf.int32), *([tf.zeros((1, self._units))] * 2)]

    def step(self, state: list, n_options: int) -> tuple[np.ndarray, list]:
        """Probabilities of the options of the next decision, and the state to `decided` from."""
        options = tf.constant([n_options], tf.int32)
        log_p, h, c = self._program.step(self._params, state[0], options, *state[1:])
        return np.exp(np.asarray(log_p[0, :n_options], float)), [None, h, c]

    @staticmethod
    def decided(state: list, choice: int) -> list:
        """The state after the decision that `step` was asked for."""
        return [tf.constant([choice + 1], tf.int32), *state[1:]]

    def log_probability(self, choices: Sequence[int], options: Sequence[int]) -> float:
        """Logarithm of the probability of one whole sequence."""
        total, _ = self._program.judge(self._params, *_padded([choices], [options]))
        return float(total[0])

    def update(self, choices, options, advantages) -> None:
        """One step of Adam on the REINFORCE loss.

        ::

            loss = -mean_i(advantage_i log p(choices_i) + entropy_weight H_i)

        with ``H_i`` the entropy summed over the decisions of sequence i.

        Parameters
        ----------
        choices, options : sequences of sequences of int
        advantages : sequence of float
        """
        advantages = tf.constant(advantages, tf.float32)
        self._params, self._optimizer = self._program.update(
            self._params, self._optimizer, *_padded(choices, options), advantages
        )


def _padded(choices, options) -> list:
    """As two tensors of shape (sequences, longest); 0 options mean that a sequence is over."""
    longest = max(1, *(len(o) for o in options))
    rows = [[[*r, *[0] * (longest - len(r))] for r in rows] for rows in (choices, options)]
    return [tf.constant(r, tf.int32) for r in rows]


def _network(units: int):
    """One step, from (last choice, number of options, h, c) to (logits, h, c)."""
    token, options = (keras.Input((), dtype="int32") for _ in range(2))
    h, c = keras.Input((units,)), keras.Input((units,))
    x = keras.layers.Embedding(MAX_OPTIONS + 1, units)(token)
    x = x + keras.layers.Embedding(MAX_OPTIONS + 1, units)(options)
    out, (new_h, new_c) = keras.layers.LSTMCell(units)(x, [h, c])
    return keras.Model([token, options, h, c], [keras.layers.Dense(MAX_OPTIONS)(out), new_h, new_c])


class _Program:
    """The compiled functions of all policies of one size; weights are arguments."""

    def __init__(self, units, learning_rate, entropy_weight):
        self.rule = adam(learning_rate)
        network = _network(units)
        buffers = [v.value for v in network.non_trainable_variables]

        def step(params, token, options, h, c):
            logits, h, c = network.stateless_call(params, buffers, [token, options, h, c])[0]
            is_option = tf.range(MAX_OPTIONS)[None] < options[:, None]
            logits = tf.where(is_option, 2.5 * tf.tanh(logits / 5.0), FORBIDDEN)
            return tf.nn.log_softmax(logits), h, c

        def judge(params, choices, options):
            """Log-probability and entropy of each sequence."""
            n, length = tf.shape(choices)[0], tf.shape(choices)[1]

            def body(t, token, h, c, total, entropy):
                log_p, h, c = step(params, token, tf.maximum(options[:, t], 1), h, c)
                alive = tf.cast(options[:, t] > 0, tf.float32)
                chosen = tf.gather(log_p, choices[:, t], batch_dims=1)
                spread = -tf.reduce_sum(tf.exp(log_p) * tf.maximum(log_p, -100.0), axis=-1)
                return (
                    t + 1,
                    choices[:, t] + 1,
                    h,
                    c,
                    total + alive * chosen,
                    entropy + alive * spread,
                )

            zeros, state = tf.zeros((n,)), tf.zeros((n, units))
            start = (0, tf.zeros((n,), tf.int32), state, state, zeros, zeros)
            *_, total, entropy = tf.while_loop(lambda t, *_: t < length, body, start)
            return total, entropy

        def update(params, state, choices, options, advantages):
            with tf.GradientTape() as tape:
                tape.watch(params)
                total, entropy = judge(params, choices, options)
                loss = -tf.reduce_mean(advantages * total + entropy_weight * entropy)
            gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, params)]
            changes, state = self.rule.update(gradients, state, params)
            return apply_changes(params, changes), state

        sequences = tf.TensorSpec((None, None), tf.int32)
        specs = [tf.TensorSpec(v.shape, v.dtype) for v in network.trainable_variables]
        state = self.rule.init([v.value for v in network.trainable_variables])
        state = tf.nest.map_structure(lambda s: tf.TensorSpec(s.shape, s.dtype), state)
        one, number = tf.TensorSpec((1, units)), tf.TensorSpec((1,), tf.int32)

        def compiled(function, *signature):
            return tf.function(function, autograph=False, input_signature=signature)

        self.step = compiled(step, specs, number, number, one, one)
        self.judge = compiled(judge, specs, sequences, sequences)
        self.update = compiled(
            update, specs, state, sequences, sequences, tf.TensorSpec((None,), tf.float32)
        )


_program = functools.lru_cache(maxsize=4)(_Program)
