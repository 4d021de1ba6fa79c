"""Gradients of objectives: pure, and differentiable themselves."""

from __future__ import annotations

from collections.abc import Sequence

from autokit._backend import tf
from autokit.training.objectives import Objective


def value_and_gradient(objective: Objective):
    """Evaluate an objective together with its gradient in the parameters.

    Parameters
    ----------
    objective : Objective

    Returns
    -------
    callable
        ``(params, buffers, batch) -> (Step, gradients)``; a parameter that the loss does not
        touch has a gradient of zeros, and sparse gradients (embeddings) come dense.
    """

    def evaluate(params, buffers, batch):
        # identity: two lists may share a tensor, and the tape watches tensors, not list places
        params = [tf.identity(p) for p in params]
        with tf.GradientTape() as tape:
            tape.watch(params)
            step = objective(params, buffers, batch)
        gradients = tape.gradient(step.loss, params, unconnected_gradients="zero")
        return step, [tf.convert_to_tensor(g) for g in gradients]

    return evaluate


def hessian_vector_product(objective: Objective):
    """The product of the loss's Hessian with a vector, without the Hessian.

    ``H v = d/dparams (grad(loss) . v)`` (Pearlmutter 1994), one more pass than a gradient.

    Parameters
    ----------
    objective : Objective

    Returns
    -------
    callable
        ``(params, buffers, batch, vector) -> list of tensors``; `vector` has a tensor per
        parameter.
    """

    def product(params, buffers, batch, vector: Sequence):
        params = [tf.identity(p) for p in params]
        with tf.GradientTape() as outer:
            outer.watch(params)
            _, gradients = value_and_gradient(objective)(params, buffers, batch)
            dot = tf.add_n([tf.reduce_sum(g * v) for g, v in zip(gradients, vector, strict=True)])
        return outer.gradient(dot, params, unconnected_gradients="zero")

    return product
