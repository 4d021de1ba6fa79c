"""ANIL: only the last layer adapts, and the body is learnt through it."""

from __future__ import annotations

import numpy as np
import pytest

from autokit.meta import ANIL, MAML, FewShotLearner
from autokit.testing.meta import blobs, tiny_encoder

RATE = 0.25


@pytest.mark.parametrize("n_steps", [1, 2])
def test_gradient_is_that_of_finite_differences(tasks, close, n_steps):
    method = ANIL(inner_steps=n_steps, inner_learning_rate=RATE)
    _, gradients = tasks.meta_gradient(method)
    expected = tasks.differences(
        lambda p: tasks.meta_loss(p, [RATE] * 4, n_steps, n_fixed=2), tasks.params
    )
    close(gradients, expected, rtol=1e-5)
    maml = tasks.meta_gradient(MAML(inner_steps=n_steps, inner_learning_rate=RATE))[1]
    assert np.abs(gradients[0] - maml[0]).max() > 1e-4


def test_inner_steps_change_the_head_alone(tasks):
    for task in tasks:
        learnt = tasks.learn(ANIL(inner_learning_rate=RATE), task, 2)
        moved = [np.abs(a - b).max() for a, b in zip(learnt, tasks.params, strict=True)]
        assert moved[:2] == [0, 0]
        assert min(moved[2:]) > 1e-3


def test_a_new_task_keeps_the_body():
    X, y = blobs(range(6), 6, 0)
    learner = FewShotLearner(
        "anil", encoder=tiny_encoder, n_way=3, n_episodes=8, meta_batch_size=4, random_state=0
    ).fit(X, y)
    new = learner.adapt(X[:12], y[:12])
    before = learner._learnt.network.get_weights()
    after = new.model_.get_weights()
    for a, b in zip(before[:4], after[:4], strict=True):
        np.testing.assert_array_equal(a, b)
    assert after[4].shape == (8, 2)
    assert not np.allclose(after[4][:, 0], after[4][:, 1])
