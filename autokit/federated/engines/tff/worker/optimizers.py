"""Optimizers of clients and server in TFF's own interface, and TFF's own where they agree.

Statistics of batch normalisation ride along behind the parameters, because TFF averages nothing
else. No rule is applied to them: a step of size 1 along ``old - new`` sets them.
"""

from __future__ import annotations

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

_RATE = "learning_rate"


class ClientSGD(tff.learning.optimizers.Optimizer):
    """Plain SGD on the parameters, pulled back to where it started; statistics are set.

    ::

        w = w - learning_rate * (gradient + proximal * (w - start))

    The proximal term is here because that of `tff.learning.algorithms.build_weighted_fed_prox` has
    the wrong sign in TFF 0.87: it adds ``proximal * (start - w)`` and pushes clients away.

    Parameters
    ----------
    learning_rate : float
    n_trainable : int
        How many of the arrays are parameters.
    proximal : float
        FedProx's mu.
    """

    def __init__(self, learning_rate: float, n_trainable: int, proximal: float = 0.0) -> None:
        self._rate, self._n, self._proximal = learning_rate, n_trainable, proximal

    def initialize(self, specs):
        state = collections.OrderedDict([(_RATE, self._rate)])
        if self._proximal:
            state["started"] = False
            state["start"] = tuple(tf.zeros(s.shape, s.dtype) for s in tuple(specs)[: self._n])
        return state

    def next(self, state, weights, gradients):
        n = self._n
        params, slopes = weights[:n], gradients[:n]
        if self._proximal:
            start = tuple(
                tf.where(state["started"], s, w)
                for s, w in zip(state["start"], params, strict=True)
            )
            slopes = [
                g + self._proximal * (w - s) for g, w, s in zip(slopes, params, start, strict=True)
            ]
            state = collections.OrderedDict(
                [(_RATE, state[_RATE]), ("started", True), ("start", start)]
            )
        params = [w - state[_RATE] * g for w, g in zip(params, slopes, strict=True)]
        statistics = [w - g for w, g in zip(weights[n:], gradients[n:], strict=True)]
        return state, (*params, *statistics)


class ServerRule(tff.learning.optimizers.Optimizer):
    """A rule for the parameters; statistics are set.

    Parameters
    ----------
    rule : tff.learning.optimizers.Optimizer
    n_trainable : int
    """

    def __init__(self, rule, n_trainable: int) -> None:
        self._rule, self._n = rule, n_trainable

    def initialize(self, specs):
        return self._rule.initialize(tuple(specs)[: self._n])

    def next(self, state, weights, gradients):
        n = self._n
        weights, gradients = tuple(weights), tuple(gradients)
        state, params = self._rule.next(state, weights[:n], gradients[:n])
        statistics = (w - g for w, g in zip(weights[n:], gradients[n:], strict=True))
        return state, (*params, *statistics)


class Nesterov(tff.learning.optimizers.Optimizer):
    """SGD with Nesterov momentum, which TFF lacks: ``v = m v + g; w = w - rate (m v + g)``."""

    def __init__(self, learning_rate: float, momentum: float) -> None:
        self._rate, self._momentum = learning_rate, momentum

    def initialize(self, specs):
        zeros = tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), specs)
        return collections.OrderedDict([(_RATE, self._rate), ("accumulator", zeros)])

    def next(self, state, weights, gradients):
        m, rate = self._momentum, state[_RATE]
        velocity = tuple(m * v + g for v, g in zip(state["accumulator"], gradients, strict=True))
        weights = tuple(
            w - rate * (m * v + g) for w, v, g in zip(weights, velocity, gradients, strict=True)
        )
        return collections.OrderedDict([(_RATE, rate), ("accumulator", velocity)]), weights


class Adaptive(tff.learning.optimizers.Optimizer):
    """Reddi et al. 2021, algorithm 2: ``w = w - rate * m / (sqrt(v) + epsilon)``.

    TFF's own Adam and Yogi correct their bias, its Adagrad has no `m` and has `epsilon` inside the
    root.

    Parameters
    ----------
    second : {"adam", "yogi", "adagrad"}
        How `v` follows the squared gradient.
    initial : float
        Of `v`.
    """

    def __init__(
        self,
        second: str,
        learning_rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        initial: float,
    ) -> None:
        self._second = {
            "adam": lambda v, s: beta_2 * v + (1 - beta_2) * s,
            "yogi": lambda v, s: v - (1 - beta_2) * s * tf.sign(v - s),
            "adagrad": lambda v, s: v + s,
        }[second]
        self._rate, self._beta_1, self._epsilon = learning_rate, beta_1, epsilon
        self._initial = initial

    def initialize(self, specs):
        first = tf.nest.map_structure(lambda s: tf.zeros(s.shape, s.dtype), specs)
        second = tf.nest.map_structure(
            lambda s: tf.fill(s.shape, tf.cast(self._initial, s.dtype)), specs
        )
        return collections.OrderedDict(
            [(_RATE, self._rate), ("step", 0), ("accumulator", first), ("preconditioner", second)]
        )

    def next(self, state, weights, gradients):
        rate, b = state[_RATE], self._beta_1
        first = tuple(
            b * m + (1 - b) * g for m, g in zip(state["accumulator"], gradients, strict=True)
        )
        second = tuple(
            self._second(v, tf.square(g))
            for v, g in zip(state["preconditioner"], gradients, strict=True)
        )
        weights = tuple(
            w - rate * m / (tf.sqrt(v) + self._epsilon)
            for w, m, v in zip(weights, first, second, strict=True)
        )
        state = collections.OrderedDict(
            [
                (_RATE, rate),
                ("step", state["step"] + 1),
                ("accumulator", first),
                ("preconditioner", second),
            ]
        )
        return state, weights


def server_rule(rule: str, settings: dict[str, Any]):
    """The optimizer of a server step; each has the state that `rule_state` tells of."""
    rate = settings["learning_rate"]
    if rule == "sgd":
        if settings["nesterov"] and settings["momentum"]:
            return Nesterov(rate, settings["momentum"])
        return tff.learning.optimizers.build_sgdm(rate, settings["momentum"] or None)
    names = ("beta_1", "beta_2", "epsilon")
    if rule == "adam":
        return tff.learning.optimizers.build_adam(rate, *(settings[name] for name in names))
    epsilon = settings["epsilon"]
    if rule == "adagrad":
        return Adaptive("adagrad", rate, settings["beta_1"], 0.0, epsilon, settings["initial"])
    second = {"fed_adam": "adam", "fed_yogi": "yogi"}[rule]
    return Adaptive(second, *(settings[n] for n in ("learning_rate", *names)), epsilon**2)
