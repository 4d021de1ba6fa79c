"""A few steps of gradient descent as one pure, differentiable function."""

from __future__ import annotations

from typing import Any, NamedTuple

from autokit._backend import tf
from autokit.training.gradients import value_and_gradient
from autokit.training.objectives import Objective, TensorBatch


class LocalResult(NamedTuple):
    """Parameters and buffers after the last step, and the loss before each step."""

    params: list
    buffers: list
    losses: Any


def local_sgd(objective: Objective, learning_rate, *, first_order: bool = False):
    """Plain SGD over a given sequence of batches.

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
    evaluate = value_and_gradient(objective)

    def step(params, buffers, batch):
        result, gradients = evaluate(params, buffers, batch)
        if first_order:
            gradients = [tf.stop_gradient(g) for g in gradients]
        rates = (
            learning_rate
            if isinstance(learning_rate, list | tuple)
            else [learning_rate] * len(params)
        )
        moved = [
            p - tf.cast(r, p.dtype) * g for p, r, g in zip(params, rates, gradients, strict=True)
        ]
        return moved, result.buffers, result.loss

    def unrolled(params, buffers, batches, n_steps):
        losses = []
        for i in range(n_steps):
            params, buffers, loss = step(params, buffers, _take(batches, i))
            losses.append(loss)
        return LocalResult(params, buffers, tf.stack(losses))

    def looped(params, buffers, batches, n_steps):
        losses = tf.TensorArray(tf.float32, size=n_steps)

        def body(i, params, buffers, losses):
            params, buffers, loss = step(params, buffers, _take(batches, i))
            return i + 1, params, buffers, losses.write(i, tf.cast(loss, tf.float32))

        _, params, buffers, losses = tf.while_loop(
            lambda i, *_: i < n_steps, body, (0, list(params), list(buffers), losses)
        )
        return LocalResult(params, buffers, losses.stack())

    def run(params, buffers, batches):
        n_steps = batches.y.shape[0]
        if n_steps is None:
            return looped(params, buffers, batches, tf.shape(batches.y)[0])
        return unrolled(list(params), list(buffers), batches, n_steps)

    return run


def _take(batches: TensorBatch, i) -> TensorBatch:
    return TensorBatch(*(None if part is None else part[i] for part in batches))
