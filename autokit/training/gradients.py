"""Gradients of objectives: pure, and differentiable themselves."""

from __future__ import annotations

from collections.abc import Sequence

from autokit._backend import tf
from autokit.training.objectives import Objective, Step, TensorBatch


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


def per_example_gradients(objective: Objective):
    """The gradient of every row's own loss.

    ``g_b = d objective(params, buffers, row b).loss / d params``

    Rows are vectorised (``tf.vectorized_map``); an operation without a vectorised form is looped
    over.

    Parameters
    ----------
    objective : Objective
        Called with batches of one row. It must be one in which rows do not depend on each other:
        batch normalisation and dropout in inference mode. What it makes of buffers is dropped.

    Returns
    -------
    callable
        ``(params, buffers, batch) -> list of tensors`` of shape (n_rows, *parameter's shape).

    Examples
    --------
    >>> from autokit._backend import tf
    >>> from autokit.training import Step, TensorBatch
    >>> def squared_error(params, buffers, batch):
    ...     residual = params[0] * batch.x - batch.y
    ...     return Step(tf.reduce_mean(residual**2), buffers, None)
    >>> rows = TensorBatch(tf.constant([1.0, 2.0]), tf.constant([0.0, 0.0]))
    >>> per_example_gradients(squared_error)([tf.constant(3.0)], [], rows)[0].numpy().tolist()
    [6.0, 24.0]
    """
    gradient = value_and_gradient(objective)

    def evaluate(params, buffers, batch):
        def of_row(row):
            return gradient(params, buffers, TensorBatch(*(part[None] for part in row)))[1]

        # a nest must not hold None: rows without weights go as pairs
        return tf.vectorized_map(of_row, tuple(part for part in batch if part is not None))

    return evaluate


def mean_over_tasks(evaluate):
    """The mean of losses and gradients over tasks, one task at a time in one compiled loop.

    Parameters
    ----------
    evaluate : callable
        ``(params, buffers, task) -> (Step, gradients)``, for a nest of tensors that is one task.

    Returns
    -------
    callable
        ``(params, buffers, tasks) -> (Step, gradients)``; the tensors of `tasks` have a leading
        axis of tasks. Buffers go from task to task, outputs are stacked.
    """

    def mean(params, buffers, tasks):
        n_tasks = tf.shape(tf.nest.flatten(tasks)[0])[0]
        outputs = tf.TensorArray(tf.float32, size=n_tasks)

        def body(i, loss, buffers, total, outputs):
            task = tf.nest.map_structure(lambda part: part[i], tasks)
            step, gradients = evaluate(params, buffers, task)
            total = [t + g for t, g in zip(total, gradients, strict=True)]
            outputs = outputs.write(i, tf.cast(step.outputs, tf.float32))
            return i + 1, loss + tf.cast(step.loss, tf.float32), step.buffers, total, outputs

        zeros = [tf.zeros_like(p) for p in params]
        start = (0, tf.zeros(()), list(buffers), zeros, outputs)
        # one at a time: the activations of one task are what fits into the cache
        _, loss, buffers, total, outputs = tf.while_loop(
            lambda i, *_: i < n_tasks, body, start, parallel_iterations=1
        )
        n = tf.cast(n_tasks, tf.float32)
        step = Step(loss / n, buffers, outputs.stack())
        return step, [t / tf.cast(n, t.dtype) for t in total]

    return mean


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
