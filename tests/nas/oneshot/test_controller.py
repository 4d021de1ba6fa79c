from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from autokit._backend import tf
from autokit.nas.oneshot.controller import Controller

OPTIONS = (2, 1, 3)


def controller():
    made = Controller(OPTIONS, hidden=8, seed=0)
    rng = np.random.default_rng(1)
    for variable in made.variables:
        variable.assign(rng.normal(scale=2.0, size=variable.shape))
    return made


def test_the_first_policy_is_uniform():
    drawn = Controller(OPTIONS).sample(5, tf.constant([0, 1]))
    np.testing.assert_allclose(drawn.log_probability, -np.log(6), rtol=1e-6)
    np.testing.assert_allclose(drawn.entropy, np.log(6), rtol=1e-6)


def test_what_is_drawn_has_the_probability_that_is_told():
    n = 20_000
    drawn = controller().sample(n, tf.constant([0, 1]))
    found = Counter(map(tuple, drawn.decisions.numpy().tolist()))
    told = {
        tuple(d): float(np.exp(p))
        for d, p in zip(
            drawn.decisions.numpy().tolist(), drawn.log_probability.numpy(), strict=True
        )
    }
    assert sum(told.values()) == pytest.approx(1, abs=0.01)  # what is very rare was not drawn
    for decisions, probability in told.items():
        assert found[decisions] / n == pytest.approx(probability, abs=0.015)
    surprise = -np.mean(drawn.log_probability)
    assert surprise == pytest.approx(float(np.mean(drawn.entropy)), abs=0.02)


def test_a_seed_draws_the_same():
    first, again, other = (
        controller().sample(50, tf.constant(seed)).decisions.numpy()
        for seed in ([0, 1], [0, 1], [0, 2])
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_policys_gradient_is_that_of_its_log_probability():
    made = controller()
    head = made.variables[-1]
    seed = tf.constant([0, 3])
    with tf.GradientTape() as tape:
        log_probability = made.sample(1, seed).log_probability[0]
    gradient = tape.gradient(log_probability, head).numpy()
    step, place = 1e-2, (8, 0)

    def moved(by):
        values = head.numpy()
        values[place] += by
        head.assign(values)
        # the draw itself must not change between the two sides
        return float(made.sample(1, seed).log_probability[0])

    ahead = moved(step)
    behind = moved(-2 * step)
    assert gradient[place] == pytest.approx((ahead - behind) / (2 * step), rel=0.02, abs=1e-4)
