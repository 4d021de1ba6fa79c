from __future__ import annotations

import numpy as np
import pytest

from autokit.nas import MLPSpace
from autokit.nas.strategies.reinforce import Reinforce
from autokit.testing.nas import StrategyContract, ToySpace


class TestReinforce(StrategyContract):
    n_trials = 60
    must_find = False

    def make_strategy(self, space, rng):
        return Reinforce(space, rng, units=16)


def test_learns_to_sample_what_is_good():
    space, scores = ToySpace(), []
    strategy = Reinforce(space, np.random.default_rng(0), learning_rate=0.03)
    for number in range(60):
        (point,) = strategy.ask(1)
        scores.append(space.score(point))
        strategy.tell([space.evaluate(point, number=number)])
    rng = np.random.default_rng(1)
    chance = np.mean([space.score(space.sample(rng)) for _ in range(500)])
    assert np.mean(scores[-20:]) > chance + 2


def test_baseline_is_a_moving_average_of_the_rewards():
    space = ToySpace()
    strategy = Reinforce(space, np.random.default_rng(0), units=8, baseline_decay=0.5)
    strategy.tell([space.evaluate((0,) * 5, number=0)])
    assert strategy.baseline == 0.0, "one alone is the median"
    strategy.tell([space.evaluate(space.best, number=1)])
    assert strategy.baseline == pytest.approx(0.5 * 0.6744898)  # Phi^-1(3/4)


def test_samples_spaces_with_decisions_that_depend_on_others():
    space = MLPSpace()
    strategy = Reinforce(space, np.random.default_rng(0), units=8)
    found = strategy.ask(20)
    assert len({len(a.widths) for a in found}) > 2
    assert all(space.encode(a).any() for a in found)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"baseline_decay": 1.0}, r"baseline_decay must be in \[0, 1\); got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(ValueError, match=match):
        Reinforce(ToySpace(), np.random.default_rng(0), **options)
