from __future__ import annotations

import numpy as np
import pytest

from autokit.nas import Evaluation, RandomSearch
from autokit.nas.pareto import hypervolume
from autokit.nas.strategies.nsga2 import NSGA2, survivors
from autokit.testing.nas import StrategyContract, ToySpace


class TestNSGA2(StrategyContract):
    def make_strategy(self, space, rng):
        return NSGA2(space, rng)


def _evaluation(number, *values, **more):
    return Evaluation(number, (number,), values[0], None, "complete", values=values, **more)


def test_survivors_by_front_then_by_crowding():
    """A front of five at equal steps but one, and one dominated point."""
    first = [_evaluation(i, x, 10.0 - x) for i, x in enumerate([0.0, 2.0, 4.0, 5.0, 10.0])]
    order = [e.number for e in survivors([_evaluation(9, 1.0, 1.0), *first])]
    assert set(order[:2]) == {0, 4}, "the ends are never crowded out"
    assert order[-1] == 9
    assert set(order[2:5]) == {1, 2, 3}


def test_survivors_by_the_rule_of_deb():
    told = [
        _evaluation(0, 9.0, 9.0, violation=0.5),
        _evaluation(1, 9.0, 9.0, violation=0.1),
        Evaluation(2, (2,), None, None, "failed"),
        _evaluation(3, 0.0, 0.0),
        _evaluation(4, 1.0, 1.0),
    ]
    assert [e.number for e in survivors(told)] == [4, 3, 1, 0, 2]


def test_children_are_of_their_parents():
    space = ToySpace()
    strategy = NSGA2(space, np.random.default_rng(0), population_size=2, mutation_rate=0.0)
    strategy.tell([space.evaluate(p, number=i) for i, p in enumerate([(0,) * 5, (4,) * 5])])
    for child in strategy.ask(10):
        assert sum(x in (0, 4) for x in child) >= 4, "mixed, and mutated where it was a copy"


def test_fills_a_front_better_than_chance():
    def values(point):
        size = float(sum(point[:3]))
        return -size - abs(point[3] - 2), size - abs(point[4] - 2)

    def volume(make, seed):
        space, found = ToySpace(), []
        strategy = make(space, np.random.default_rng(seed))
        for number in range(150):
            (point,) = strategy.ask(1)
            found.append(values(point))
            strategy.tell(
                [Evaluation(number, point, found[-1][1], None, "complete", values=found[-1])]
            )
        return hypervolume(found, (-13.0, -1.0))

    ours, random = (np.mean([volume(m, s) for s in range(5)]) for m in (NSGA2, RandomSearch))
    assert ours > random


@pytest.mark.parametrize(
    "options, match",
    [
        ({"population_size": 1}, "population_size must be at least 2; got 1"),
        ({"mutation_rate": 1.5}, r"mutation_rate must be in \[0, 1\]; got 1.5"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(ValueError, match=match):
        NSGA2(ToySpace(), np.random.default_rng(0), **options)
