from __future__ import annotations

import numpy as np
import pytest

from autokit.nas import LocalSearch
from autokit.testing.nas import StrategyContract, ToySpace


class TestLocalSearch(StrategyContract):
    def make_strategy(self, space, rng):
        return LocalSearch(space, rng)


def _run(search, space, n_trials, batch=1):
    for number in range(0, n_trials, batch):
        points = search.ask(batch)
        search.tell([space.evaluate(p, number=number + i) for i, p in enumerate(points)])


@pytest.mark.parametrize("batch", [1, 4])
def test_climbs_to_the_known_optimum_before_it_starts_anew(batch):
    space = ToySpace()
    for seed in range(5):
        search, peak = LocalSearch(space, np.random.default_rng(seed)), None
        for number in range(400):
            points = search.ask(batch)
            if search._restarting and number:
                break
            search.tell([space.evaluate(p, number=number) for p in points])
            peak = search.current.architecture
        # without local optima, the first climb may only end on the best point of all
        assert peak == space.best


def test_moves_only_upwards_within_a_climb():
    space, search = ToySpace(), None
    search = LocalSearch(space, np.random.default_rng(0))
    scores = []
    for number in range(60):
        points = search.ask(1)
        if search._restarting and number:
            break
        search.tell([space.evaluate(points[0], number=number)])
        scores.append(search.current.score)
    assert scores == sorted(scores)


def test_starts_from_what_it_is_told():
    space = ToySpace()
    search = LocalSearch(space, np.random.default_rng(0))
    search.tell([space.evaluate((0, 0, 0, 0, 0), number=0)])
    (point,) = search.ask(1)
    assert sum(point) in range(1, space.n_values)
    assert point.count(0) == 4


def test_a_limit_on_neighbors_makes_it_start_anew():
    space = ToySpace()
    search = LocalSearch(space, np.random.default_rng(0), max_neighbors=3)
    search.tell([space.evaluate(space.best, number=0)])
    _run(search, space, 3)
    assert search.current.architecture == space.best
    _run(search, space, 1)
    assert search.current.architecture != space.best


def test_the_limit_is_checked():
    with pytest.raises(ValueError, match="max_neighbors must be at least 1 or None; got 0"):
        LocalSearch(ToySpace(), np.random.default_rng(0), max_neighbors=0)
