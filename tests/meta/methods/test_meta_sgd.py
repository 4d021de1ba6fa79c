"""Meta-SGD: MAML where rates are constant; its rates against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from autokit.meta import MAML, FewShotLearner, MetaSGD
from autokit.testing.meta import blobs, tiny_encoder

RATE = 0.25  # without rounding in float32


@pytest.mark.parametrize("n_steps", [1, 2])
def test_constant_rates_give_the_gradient_of_maml(tasks, close, n_steps):
    rates = [np.full_like(p, RATE) for p in tasks.params]
    found = tasks.meta_gradient(MetaSGD(inner_steps=n_steps), rates)[1]
    maml = MAML(inner_steps=n_steps, inner_learning_rate=RATE)
    close(found[:4], tasks.meta_gradient(maml)[1])


@pytest.mark.parametrize("n_steps", [1, 2])
def test_gradients_of_weights_and_rates_are_those_of_finite_differences(tasks, close, n_steps):
    rng = np.random.default_rng(1)
    rates = [rng.uniform(-0.1, 0.4, p.shape) for p in tasks.params]
    found = tasks.meta_gradient(MetaSGD(inner_steps=n_steps), rates)[1]
    weights = tasks.differences(lambda p: tasks.meta_loss(p, rates, n_steps), tasks.params)
    own = tasks.differences(lambda r: tasks.meta_loss(tasks.params, r, n_steps), rates)
    close(found, [*weights, *own], rtol=1e-5)


def test_rates_begin_alike_and_are_learnt():
    X, y = blobs(range(6), 6, 0)
    learner = FewShotLearner(
        MetaSGD(inner_learning_rate=0.2), encoder=tiny_encoder, n_way=3, n_episodes=20,
        meta_batch_size=2, random_state=0,
    ).fit(X, y)  # fmt: skip
    network, rates = learner._learnt.network, learner._learnt.extras
    assert [r.shape for r in rates] == [tuple(v.shape) for v in network.trainable_variables]
    first = learner.method_.extras(network, 0)
    for before, after in zip(first, rates, strict=True):
        assert np.all(before == np.float32(0.2))
        # Adam's steps of 0.001, ten of them
        assert 0 < np.abs(after - before).max() < 0.011
