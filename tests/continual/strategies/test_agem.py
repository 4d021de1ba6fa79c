"""A-GEM: the projection, and what it promises for the memory."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import tf
from autokit.continual import AGEM, ContinualModel, Naive
from autokit.continual.strategies.agem import projected


def flat(parts):
    return np.concatenate([np.ravel(p) for p in parts]).astype(float)


def random_gradients(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s).astype(np.float32) for s in ((4, 3), (3,), (2, 2))]


def test_a_projected_gradient_never_points_against_the_reference():
    n_changed = 0
    for seed in range(40):
        gradients, reference = random_gradients(seed), random_gradients(seed + 1000)
        found = projected([tf.constant(g) for g in gradients], [tf.constant(r) for r in reference])
        g, r, p = flat(gradients), flat(reference), flat(found)
        length = np.linalg.norm(r)
        assert p @ r >= -1e-5 * length
        if g @ r >= 0:
            np.testing.assert_array_equal(p, g)
        else:
            n_changed += 1
            np.testing.assert_allclose(p, g - (g @ r) / (r @ r) * r, atol=1e-5)
            # of all vectors that do not point against it, the nearest
            assert np.linalg.norm(p - g) == pytest.approx(-(g @ r) / length, rel=1e-4)
    assert 5 < n_changed < 35


def test_a_zero_reference_changes_nothing():
    gradients = random_gradients(0)
    found = projected(gradients, [tf.zeros_like(g) for g in gradients])
    np.testing.assert_array_equal(flat(found), flat(gradients))


def conflicting(shared_step):
    """Steps of which plain descent raises the memory's loss."""
    for seed in range(30):
        step = shared_step(seed=seed)
        _, plain = step.result(Naive())
        if slope_of_memory(step, plain) > 1e-3:
            yield step


def slope_of_memory(step, gradients, rate=1e-4):
    """How fast the memory's loss changes along a step of descent, by central differences."""
    low, high = (
        step.memory_loss([p - sign * rate * g.astype(float) for p, g in pairs])
        for sign in (-1.0, 1.0)
        for pairs in [list(zip(step.params, gradients, strict=True))]
    )
    return (high - low) / (2 * rate)


def test_a_real_step_never_raises_the_memorys_loss_to_first_order(shared_step):
    n_steps = 0
    for step in conflicting(shared_step):
        _, gradients = step.result(AGEM())
        assert slope_of_memory(step, gradients) <= 1e-5
        n_steps += 1
    assert n_steps >= 5


def test_without_a_memory_nothing_is_projected(open_step):
    step = open_step(has_memory=0.0)
    for a, b in zip(step.result(AGEM())[1], step.result(Naive())[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_first_experience_is_plain_training():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), np.arange(40) % 2

    def weights(strategy):
        model = ContinualModel(strategy=strategy, epochs=2, random_state=0).partial_fit(X, y)
        return flat([v.value.numpy() for v in model.model_.variables])

    np.testing.assert_array_equal(weights("agem"), weights("naive"))
