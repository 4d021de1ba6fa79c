"""A few steps of gradient descent as one pure, differentiable function."""

from __future__ import annotations

from typing import Any, NamedTuple

from autokit._backend import tf
from autokit.training.gradients import value_and_gradient
from autokit.training.objectives import Objective, TensorBatch
from autokit.training.updates import UpdateRule, apply_changes


class LocalResult(NamedTuple):
    """Parameters and buffers after the last step, and the loss before each step."""

    params: list
    buffers: list
    losses: Any


def local_sgd(objective: Objective, learning_rate, *, first_order: bool = False):
    """Plain SGD over a given sequence of batches: `local_updates` by the simplest rule.

    ::

        for batch in batches:
            params = params - learning_rate * gradient(objective)(params, buffers, batch)

    MAML's inner loop, a FedAvg client, Reptile and DARTS' unrolled step are this function. The
    result is differentiable in `params`, second order included.

    Parameters
    ----------
    objective : Objective
    learning_rate : float, tensor, or list of tensors
        One rate, or one per parameter (Meta-SGD).
    first_order : bool, default=False
        Treat the gradients as constants when the result is differentiated (first-order MAML).

    Returns
    -------
    callable
        ``(params, buffers, batches) -> LocalResult``; `batches` is a TensorBatch whose tensors
        have a leading axis of steps: x (steps, batch, ...), y (steps, batch, ...). A number of
        steps known when traced is unrolled, otherwise the loop runs in the graph.
    """

    def init(params):
        return ()

    def update(gradients, state, params):
        shared = not isinstance(learning_rate, list | tuple)
        rates = [learning_rate] * len(params) if shared else learning_rate
        return [-tf.cast(r, g.dtype) * g for r, g in zip(rates, gradients, strict=True)], state

    return local_updates(objective, UpdateRule(init, update), first_order=first_order)


def local_updates(objective: Objective, rule: UpdateRule, *, first_order: bool = False):
    """A few steps of an update rule over a given sequence of batches.

    ::

        state = rule.init(params)
        for batch in batches:
            changes, state = rule.update(gradient(objective)(params, buffers, batch), state, params)
            params = params + changes

    Parameters
    ----------
    objective : Objective
    rule : UpdateRule
    first_order : bool, default=False
        As of `local_sgd`.

    Returns
    -------
    callable
        As of `local_sgd`.
    """
    evaluate = value_and_gradient(objective)

    def step(params, buffers, state, batch):
        result, gradients = evaluate(params, buffers, batch)
        if first_order:
            gradients = [tf.stop_gradient(g) for g in gradients]
        changes, state = rule.update(gradients, state, params)
        return apply_changes(params, changes), result.buffers, state, result.loss

    def unrolled(params, buffers, batches, n_steps):
        losses, state = [], rule.init(params)
        for i in range(n_steps):
            params, buffers, state, loss = step(params, buffers, state, _take(batches, i))
            losses.append(loss)
        return LocalResult(params, buffers, tf.stack(losses))

    def looped(params, buffers, batches, n_steps):
        def body(i, params, buffers, state, losses):
            params, buffers, state, loss = step(params, buffers, state, _take(batches, i))
            return i + 1, params, buffers, state, losses.write(i, tf.cast(loss, tf.float32))

        losses = tf.TensorArray(tf.float32, size=n_steps)
        start = (0, list(params), list(buffers), rule.init(params), losses)
        _, params, buffers, _, losses = tf.while_loop(lambda i, *_: i < n_steps, body, start)
        return LocalResult(params, buffers, losses.stack())

    def run(params, buffers, batches):
        n_steps = batches.x.shape[0]
        if n_steps is None:
            return looped(params, buffers, batches, tf.shape(batches.x)[0])
        return unrolled(list(params), list(buffers), batches, n_steps)

    return run


def _take(batches: TensorBatch, i) -> TensorBatch:
    return TensorBatch(*(None if part is None else part[i] for part in batches))
