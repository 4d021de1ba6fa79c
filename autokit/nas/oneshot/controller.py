"""The controller of ENAS: an LSTM that makes one decision after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from autokit._backend import tf


class Sample(NamedTuple):
    """Decisions drawn from the controller.

    Attributes
    ----------
    decisions : tf.Tensor of int32 of shape (n, n_decisions)
    log_probability : tf.Tensor of shape (n,)
        Of all decisions together.
    entropy : tf.Tensor of shape (n,)
        Summed over the decisions.
    """

    decisions: Any
    log_probability: Any
    entropy: Any


class Controller:
    """An LSTM whose every output decides, and is its next input.

    ::

        h, c   = lstm(embedding[what was decided last], h, c)
        logits = 2.5 tanh((h head_i + bias_i) / 5)
        next   = a draw from softmax(logits)

    Its heads start at zero: at first, every decision is uniform.

    Parameters
    ----------
    options : sequence of int
        Of each decision.
    hidden : int, default=64
    seed : int, default=0

    Attributes
    ----------
    variables : list of tf.Variable

    References
    ----------
    Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018, section
    2.2; temperature 5 and tanh constant 2.5 are of its appendix. Each decision has a head of its
    own here, as the number of options differs between them.
    """

    def __init__(self, options: Sequence[int], *, hidden: int = 64, seed: int = 0):
        self.options, self.hidden = tuple(options), hidden
        rng = np.random.default_rng(seed)
        # a token for the start and one for each option of each decision
        self._first_token = 1 + np.concatenate([[0], np.cumsum(self.options)])
        n_tokens = int(self._first_token[-1])

        def uniform(*shape):
            return tf.Variable(rng.uniform(-0.1, 0.1, shape), dtype=tf.float32)

        self._embedding = uniform(n_tokens, hidden)
        self._kernel, self._bias = (
            uniform(2 * hidden, 4 * hidden),
            tf.Variable(tf.zeros(4 * hidden)),
        )
        self._heads = [tf.Variable(tf.zeros((hidden + 1, n))) for n in self.options]
        self.variables = [self._embedding, self._kernel, self._bias, *self._heads]

    def sample(self, n: int, seed) -> Sample:
        """Draw within the graph; log-probability and entropy are differentiable.

        Parameters
        ----------
        n : int or tensor
        seed : tf.Tensor of int32 of shape (2,)
            The same seed draws the same.
        """
        token = tf.zeros((n,), tf.int32)
        state = (tf.zeros((n, self.hidden)), tf.zeros((n, self.hidden)))
        noise = tf.random.stateless_uniform(
            (n, sum(self.options)), seed, minval=np.finfo("float32").tiny
        )
        gumbel = tf.split(-tf.math.log(-tf.math.log(noise)), self.options, axis=1)
        decisions, log_probability, entropy = [], 0.0, 0.0
        for i, head in enumerate(self._heads):
            state = self._cell(tf.gather(self._embedding, token), *state)
            logits = 2.5 * tf.tanh((state[0] @ head[:-1] + head[-1]) / 5.0)
            log_p = tf.nn.log_softmax(logits)
            decision = tf.argmax(log_p + gumbel[i], axis=-1, output_type=tf.int32)
            log_probability += tf.gather(log_p, decision, batch_dims=1)
            entropy -= tf.reduce_sum(tf.exp(log_p) * log_p, axis=-1)
            decisions.append(decision)
            token = decision + int(self._first_token[i])
        return Sample(tf.stack(decisions, axis=1), log_probability, entropy)

    def _cell(self, x, h, c):
        gates = tf.concat([x, h], axis=1) @ self._kernel + self._bias
        take, keep, new, show = tf.split(gates, 4, axis=1)
        # + 1: an open forget gate at the start lets gradients pass (Jozefowicz et al. 2015)
        c = tf.sigmoid(keep + 1.0) * c + tf.sigmoid(take) * tf.tanh(new)
        return tf.sigmoid(show) * tf.tanh(c), c
