from __future__ import annotations

from autokit.nas import RandomSearch
from autokit.testing.nas import StrategyContract


class TestRandomSearch(StrategyContract):
    must_find = False

    def make_strategy(self, space, rng):
        return RandomSearch(space, rng)
