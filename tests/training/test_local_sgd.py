"""Local updates against NumPy, and the mean of gradients over tasks."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import tf
from autokit.training import Step, TensorBatch, local_sgd, local_updates, value_and_gradient
from autokit.training.gradients import mean_over_tasks
from autokit.training.updates import adam

N_STEPS = 5


def objective(params, buffers, batch):
    """A linear regression; its buffer counts the rows seen."""
    error = tf.linalg.matvec(batch.x, params[0]) + params[1] - batch.y
    rows = tf.cast(tf.shape(batch.x)[0], tf.float32)
    return Step(tf.reduce_mean(tf.square(error)), [buffers[0] + rows], error)


def gradient(w, c, x, y):
    error = x @ w + c - y
    return 2 * x.T @ error / len(x), 2 * error.mean(), np.mean(error**2)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(N_STEPS, 6, 3)), rng.normal(size=(N_STEPS, 6))
    return rng.normal(size=3), rng.normal(), x, y


def started(problem):
    w, c, x, y = problem
    params = [tf.constant(part, tf.float32) for part in (w, c)]
    return params, [tf.zeros(())], TensorBatch(*(tf.constant(p, tf.float32) for p in (x, y)))


def check(result, w, c, losses):
    np.testing.assert_allclose(result.params[0], w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.params[1], c, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-4)
    assert float(result.buffers[0]) == 6 * N_STEPS


def both(run, problem):
    """Unrolled, and as a loop in the graph."""
    params, buffers, batches = started(problem)
    yield run(params, buffers, batches)
    signature = [
        tf.TensorSpec((3,)),
        tf.TensorSpec(()),
        tf.TensorSpec(()),
        tf.TensorSpec((None, 6, 3)),
        tf.TensorSpec((None, 6)),
    ]

    @tf.function(input_signature=signature)
    def loop(w, c, seen, x, y):
        return run([w, c], [seen], TensorBatch(x, y))

    yield loop(*params, *buffers, *batches[:2])


@pytest.mark.parametrize("beta_1", [0.0, 0.9])
def test_steps_of_adam_are_those_of_numpy(problem, beta_1):
    w, c, x, y = problem
    first, second, losses = np.zeros(4), np.zeros(4), []
    for t in range(1, N_STEPS + 1):
        slope, shift, loss = gradient(w, c, x[t - 1], y[t - 1])
        losses.append(loss)
        g = np.append(slope, shift)
        first = beta_1 * first + (1 - beta_1) * g
        second = 0.999 * second + 0.001 * g**2
        rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - beta_1**t)
        change = -rate * first / (np.sqrt(second) + 1e-7)
        w, c = w + change[:3], c + change[3]
    for result in both(local_updates(objective, adam(0.1, beta_1=beta_1)), problem):
        check(result, w, c, losses)


@pytest.mark.parametrize("rates", [0.1, [0.1, 0.3]])
def test_steps_of_gradient_descent_are_those_of_numpy(problem, rates):
    w, c, x, y = problem
    own = rates if isinstance(rates, list) else [rates] * 2
    losses = []
    for i in range(N_STEPS):
        slope, shift, loss = gradient(w, c, x[i], y[i])
        losses.append(loss)
        w, c = w - own[0] * slope, c - own[1] * shift
    for result in both(local_sgd(objective, rates), problem):
        check(result, w, c, losses)


def test_the_mean_over_tasks_is_the_mean_of_each(problem):
    params, buffers, batches = started(problem)
    evaluate = value_and_gradient(objective)
    each = [
        evaluate(params, buffers, TensorBatch(batches.x[i], batches.y[i])) for i in range(N_STEPS)
    ]
    tasks = (batches.x, batches.y)
    mean = mean_over_tasks(lambda p, b, task: evaluate(p, b, TensorBatch(*task)))
    for run in (mean, tf.function(mean)):
        step, gradients = run(params, buffers, tasks)
        np.testing.assert_allclose(step.loss, np.mean([s.loss for s, _ in each]), rtol=1e-6)
        np.testing.assert_allclose(step.outputs, [s.outputs for s, _ in each], rtol=1e-6)
        assert float(step.buffers[0]) == 6 * N_STEPS  # from task to task
        for k, found in enumerate(gradients):
            np.testing.assert_allclose(
                found, np.mean([g[k] for _, g in each], axis=0), rtol=1e-5, atol=1e-6
            )
