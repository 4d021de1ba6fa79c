from __future__ import annotations

import numpy as np
import pytest

from autokit.nas import Evaluation, RegularizedEvolution
from autokit.testing.nas import StrategyContract, ToySpace


class TestRegularizedEvolution(StrategyContract):
    def make_strategy(self, space, rng):
        return RegularizedEvolution(space, rng)


def _evaluation(number, score):
    return Evaluation(number, (number,) * 5, score, 0.0, "complete")


def test_the_oldest_dies_not_the_worst():
    evolution = RegularizedEvolution(ToySpace(), np.random.default_rng(0), population_size=3)
    evolution.tell([_evaluation(i, score) for i, score in enumerate([9.0, 1.0, 2.0, 3.0])])
    assert [e.number for e in evolution.population] == [1, 2, 3]


def test_parents_win_a_tournament_drawn_with_replacement():
    """P(parent is the i-th best of P) = ((P - i)^S - (P - i - 1)^S) / P^S, counted from 0."""
    size, sample = 5, 2

    class Echo(ToySpace):
        def mutate(self, architecture, rng):
            return (*architecture, int(rng.integers(2**60)))

    evolution = RegularizedEvolution(
        Echo(), np.random.default_rng(0), population_size=size, sample_size=sample
    )
    evolution.tell([_evaluation(i, -float(i)) for i in range(size)])
    n = 4000
    parents = [evolution.ask(1)[0][0] for _ in range(n)]
    left = size - np.arange(size)
    expected = (left**sample - (left - 1) ** sample) / size**sample
    observed = np.bincount(parents, minlength=size) / n
    np.testing.assert_allclose(observed, expected, atol=4 * np.sqrt(0.25 / n))


def test_the_population_is_random_at_first_then_children():
    space = ToySpace()
    evolution = RegularizedEvolution(space, np.random.default_rng(0), population_size=4)
    start = evolution.ask(4)
    evolution.tell([space.evaluate(a, number=i) for i, a in enumerate(start)])
    for child in evolution.ask(10):
        distances = [sum(x != y for x, y in zip(child, a, strict=True)) for a in start]
        assert min(distances) == 1


def test_needs_fewer_trials_than_random_search():
    from autokit.nas import RandomSearch

    def trials_to_optimum(make, seed):
        space, rng = ToySpace(), np.random.default_rng(seed)
        strategy = make(space, rng)
        for number in range(3000):
            (point,) = strategy.ask(1)
            strategy.tell([space.evaluate(point, number=number)])
            if point == space.best:
                return number
        return 3000

    ours = np.median([trials_to_optimum(RegularizedEvolution, s) for s in range(9)])
    random = np.median([trials_to_optimum(RandomSearch, s) for s in range(9)])
    assert ours < random / 3


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="population_size and sample_size must be at least 1"):
        RegularizedEvolution(ToySpace(), np.random.default_rng(0), population_size=0)
