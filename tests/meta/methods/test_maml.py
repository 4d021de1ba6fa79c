"""MAML: its gradient against finite differences, and where the loss is quadratic by a formula."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.meta import FOMAML, MAML
from autokit.meta.protocols import Layout, Networks, Task, View

RATE = 0.3


@pytest.mark.parametrize("n_steps", [1, 2])
def test_gradient_is_that_of_finite_differences(tasks, close, n_steps):
    method = MAML(inner_steps=n_steps, inner_learning_rate=RATE)
    loss, gradients = tasks.meta_gradient(method)
    rates = [np.float64(np.float32(RATE))] * 4
    assert loss == pytest.approx(tasks.meta_loss(tasks.params, rates, n_steps), rel=1e-6)
    expected = tasks.differences(lambda p: tasks.meta_loss(p, rates, n_steps), tasks.params)
    close(gradients, expected, rtol=1e-5)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_without_second_derivatives_it_is_the_gradient_where_steps_end(tasks, close, n_steps):
    settings = {"inner_steps": n_steps, "inner_learning_rate": RATE}
    rates = [np.float64(np.float32(RATE))] * 4
    points = [tasks.adapted(tasks.params, task, rates, n_steps) for task in tasks]
    expected = tasks.mean_gradient_at(points)
    second_order = tasks.meta_gradient(MAML(**settings))[1]
    for method in (FOMAML(**settings), MAML(first_order=True, **settings)):
        gradients = tasks.meta_gradient(method)[1]
        close(gradients, expected)
        assert np.abs(gradients[0] - second_order[0]).max() > 1e-3


def test_without_a_rate_it_is_the_ordinary_gradient_on_queries(tasks, close):
    for kind in (MAML, FOMAML):
        gradients = tasks.meta_gradient(kind(inner_learning_rate=1e-12))[1]
        close(gradients, tasks.mean_gradient_at([tasks.params] * 3))


def test_inner_steps_are_those_of_gradient_descent(tasks, close):
    rates = [np.float64(np.float32(RATE))] * 4
    for task in tasks:
        learnt = tasks.learn(MAML(inner_learning_rate=RATE), task, 3)
        close(learnt, tasks.adapted(tasks.params, task, rates, 3))


@pytest.mark.parametrize("n_steps", [1, 2])
def test_gradient_of_a_quadratic_is_the_closed_form(n_steps):
    rng = np.random.default_rng(0)
    inputs = keras.Input((3,), dtype="float64")
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="float64")(inputs))
    support_x, query_x = rng.normal(size=(2, 2, 4, 3))
    support_y, query_y = rng.normal(size=(2, 2, 4, 1))
    kernel, bias = rng.normal(size=(3, 1)), rng.normal(size=1)
    method, rate = MAML(inner_steps=n_steps), 0.1
    loss = keras.losses.MeanSquaredError(dtype="float64")
    numbers = {"inner_learning_rate": tf.constant(rate, tf.float64)}
    view = View(Networks(model), loss, Layout(1, 4, 4), numbers, False)
    tasks = Task(*map(tf.constant, (support_x, support_y, query_x, query_y)))
    _, found = method.meta_gradient(view, [tf.constant(kernel), tf.constant(bias)], [], tasks)

    # of mean (zp - y)^2 the gradient is Hp - g, with H = 2 z'z / n and g = 2 z'y / n
    def quadratic(x, y):
        z = np.column_stack([x, np.ones(len(x))])
        return 2 * z.T @ z / len(z), 2 * z.T @ y / len(z)

    expected = []
    for i in range(2):
        h, g = quadratic(support_x[i], support_y[i])
        h_q, g_q = quadratic(query_x[i], query_y[i])
        p = np.vstack([kernel, bias])
        for _ in range(n_steps):
            p = p - rate * (h @ p - g)
        jacobian = np.linalg.matrix_power(np.eye(4) - rate * h, n_steps)
        expected.append(jacobian.T @ (h_q @ p - g_q))
    np.testing.assert_allclose(
        np.vstack([found[0], found[1][None]]), np.mean(expected, axis=0), rtol=1e-6, atol=1e-9
    )
