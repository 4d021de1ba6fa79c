"""Reptile: its steps of Adam in NumPy, the rows they see, and the outer step."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from autokit.meta import FewShotLearner, Reptile, training
from autokit.meta.protocols import Layout, Task
from autokit.testing.meta import blobs, tiny_encoder

RATE = 0.0625


@pytest.fixture
def tasks(tasks):
    return replace(tasks, dtype="float32")


def by_adam(tasks, method, task, rate):
    """Parameters after `method`'s inner steps: Adam with beta_1 = 0, bias-corrected."""
    x, y = np.vstack([task.support_x, task.query_x]), np.append(task.support_y, task.query_y)
    params, second = tasks.params, [np.zeros_like(p) for p in tasks.params]
    for t, rows in enumerate(method.inner_places(tasks.layout, method.inner_steps), start=1):
        _, gradients = tasks.gradient(params, x[rows], y[rows])
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradients, strict=True)]
        scale = np.sqrt(1 - 0.999**t)
        parts = zip(params, gradients, second, strict=True)
        params = [p - rate * scale * g / (np.sqrt(v) + 1e-7) for p, g, v in parts]
    return params


@pytest.mark.parametrize("n_steps", [1, 4])
def test_gradient_is_the_way_back_from_where_tasks_end(tasks, close, n_steps):
    method = Reptile(inner_steps=n_steps, inner_learning_rate=RATE)
    _, found = tasks.meta_gradient(method)
    ends = [by_adam(tasks, method, task, RATE) for task in tasks]
    expected = [
        p - np.mean(parts, axis=0)
        for p, parts in zip(tasks.params, zip(*ends, strict=True), strict=True)
    ]
    # 0.999 and its powers are rounded to float32
    close(found, expected, rtol=1e-4, atol=1e-5)


def test_one_step_on_all_rows_goes_against_the_signs_of_their_gradient(tasks):
    method = Reptile(inner_steps=1, inner_learning_rate=RATE, inner_shots=5)
    for task in tasks:
        one = replace(tasks)
        one.tasks = Task(*(part[None] for part in task))
        _, found = one.meta_gradient(method)
        x, y = np.vstack([task.support_x, task.query_x]), np.append(task.support_y, task.query_y)
        for slope, gradient in zip(found, tasks.gradient(tasks.params, x, y)[1], strict=True):
            # Adam's epsilon, 1e-7, against the root of 0.001 times the square
            large = np.abs(gradient) > 1e-3
            np.testing.assert_allclose(slope[large], RATE * np.sign(gradient[large]), rtol=0.01)


@pytest.mark.parametrize("inner_shots", [1, 2, 3])
def test_batches_take_rows_of_each_class_in_turn(inner_shots):
    layout = Layout(n_way=3, k_shot=2, n_query=4)
    n_rows = layout.k_shot + layout.n_query
    places = Reptile(inner_shots=inner_shots).inner_places(layout, n_steps=n_rows)
    codes = np.concatenate([layout.codes(layout.k_shot), layout.codes(layout.n_query)])
    for batch in codes[places]:
        np.testing.assert_array_equal(np.bincount(batch), [inner_shots] * 3)
    seen = np.bincount(places.ravel(), minlength=len(codes))
    np.testing.assert_array_equal(seen, [inner_shots] * len(codes))
    for batch in places:
        assert len(set(batch)) == len(batch)


def test_outer_steps_go_a_share_of_the_way_that_falls_to_nothing():
    X, y = blobs(range(6), 6, 0)
    settings = {
        "encoder": tiny_encoder,
        "n_way": 3,
        "n_query": 3,
        "meta_batch_size": 1,
        "random_state": 0,
    }
    moved = {}
    for rate in (1e-9, 0.5, 1.0):
        learner = FewShotLearner("reptile", n_episodes=1, outer_learning_rate=rate, **settings)
        moved[rate] = learner.fit(X, y)._learnt.network.get_weights()
    for start, half, whole in zip(*moved.values(), strict=True):
        np.testing.assert_allclose(half - start, 0.5 * (whole - start), atol=1e-6)
    own, rates = training.fit, []

    def fit(*args, config, **options):
        rates.append(config.learning_rate)
        return own(*args, config=config, **options)

    with mock.patch.object(training, "fit", fit):
        FewShotLearner("reptile", n_episodes=300, **settings).fit(X, y)
    np.testing.assert_allclose(rates, [1.0, 2 / 3, 1 / 3])
