"""Update rules: what turns a gradient, or a round's mean delta, into a change of parameters.

A rule is two pure functions, as in optax::

    state = rule.init(params)
    changes, state = rule.update(gradients, state, params)
    params = apply_changes(params, changes)

Servers of federated rounds (FedAvgM, FedAdam, FedYogi, FedAdagrad), Reptile and other outer
loops use them with ``gradient = -mean delta``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from autokit._backend import tf


class UpdateRule(NamedTuple):
    """A pair of pure functions, ``init(params)`` and ``update(gradients, state, params)``."""

    init: Callable[[Sequence], Any]
    update: Callable[[Sequence, Any, Sequence], tuple[list, Any]]


def apply_changes(params: Sequence, changes: Sequence) -> list:
    """Add a change to each parameter."""
    return [p + c for p, c in zip(params, changes, strict=True)]


def weighted_mean(stacked: Sequence, weights) -> list:
    """Mean over the leading axis, ``sum_k w_k x_k / sum_k w_k``.

    Parameters
    ----------
    stacked : sequence of tensors of shape (n, ...)
        One per parameter; row k belongs to client, task or model k.
    weights : tensor of shape (n,)
        At least one is positive.

    Returns
    -------
    list of tensors of shape (...)
    """
    share = tf.cast(weights, tf.float32) / tf.reduce_sum(tf.cast(weights, tf.float32))
    return [tf.tensordot(tf.cast(share, s.dtype), s, axes=1) for s in stacked]


def _zeros(params):
    return [tf.zeros_like(p) for p in params]


def sgd(learning_rate, momentum: float = 0.0, nesterov: bool = False) -> UpdateRule:
    """Gradient descent with momentum.

    ::

        velocity = momentum * velocity - learning_rate * gradient
        change = velocity                                        # or, with nesterov:
        change = momentum * velocity - learning_rate * gradient

    Parameters
    ----------
    learning_rate : float
    momentum : float in [0, 1), default=0.0
    nesterov : bool, default=False
    """

    def init(params):
        return _zeros(params) if momentum else []

    def update(gradients, state, params):
        steps = [-learning_rate * g for g in gradients]
        if not momentum:
            return steps, state
        velocity = [momentum * v + s for v, s in zip(state, steps, strict=True)]
        if nesterov:
            return [momentum * v + s for v, s in zip(velocity, steps, strict=True)], velocity
        return velocity, velocity

    return UpdateRule(init, update)


def _adaptive(learning_rate, beta_1, beta_2, epsilon, second_moment, bias_correction, initial):
    def init(params):
        second = [tf.fill(tf.shape(p), tf.cast(initial, p.dtype)) for p in params]
        return tf.zeros(()), _zeros(params), second

    def update(gradients, state, params):
        count, first, second = state
        count = count + 1.0
        first = [beta_1 * m + (1 - beta_1) * g for m, g in zip(first, gradients, strict=True)]
        second = [second_moment(v, tf.square(g)) for v, g in zip(second, gradients, strict=True)]
        rate = learning_rate
        if bias_correction:
            rate = rate * tf.sqrt(1 - tf.pow(beta_2, count)) / (1 - tf.pow(beta_1, count))
        changes = [-rate * m / (tf.sqrt(v) + epsilon) for m, v in zip(first, second, strict=True)]
        return changes, (count, first, second)

    return UpdateRule(init, update)


def adam(learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7) -> UpdateRule:
    """Adam (Kingma & Ba 2015, algorithm 1 in the order of its section 2, last paragraph).

    ::

        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g^2
        change = -learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)
    """
    return _adaptive(
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        lambda v, s: beta_2 * v + (1 - beta_2) * s,
        True,
        0.0,
    )


def fed_adam(learning_rate, beta_1=0.9, beta_2=0.99, epsilon=1e-3) -> UpdateRule:
    """FedAdam's server (Reddi et al. 2021, algorithm 2): Adam without bias correction.

    ``v`` starts at epsilon^2, the paper's tau^2.
    """
    return _adaptive(
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        lambda v, s: beta_2 * v + (1 - beta_2) * s,
        False,
        epsilon**2,
    )


def fed_yogi(learning_rate, beta_1=0.9, beta_2=0.99, epsilon=1e-3) -> UpdateRule:
    """FedYogi's server (Reddi et al. 2021, algorithm 2).

    ``v = v - (1 - beta_2) * g^2 * sign(v - g^2)``, otherwise as `fed_adam`.
    """
    return _adaptive(
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        lambda v, s: v - (1 - beta_2) * s * tf.sign(v - s),
        False,
        epsilon**2,
    )


def adagrad(learning_rate, beta_1=0.0, epsilon=1e-7, initial=0.1) -> UpdateRule:
    """Adagrad (Duchi et al. 2011); with ``epsilon=1e-3, initial=1e-6`` FedAdagrad's server.

    ``v = v + g^2; change = -learning_rate * m / (sqrt(v) + epsilon)``
    """
    return _adaptive(learning_rate, beta_1, 0.0, epsilon, lambda v, s: v + s, False, initial)
