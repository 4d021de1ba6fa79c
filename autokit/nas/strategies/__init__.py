"""Search strategies, by the name that `NASClassifier` takes."""

from __future__ import annotations

from autokit.nas.strategies.evolution import RegularizedEvolution
from autokit.nas.strategies.local_search import LocalSearch
from autokit.nas.strategies.random import RandomSearch

STRATEGIES = {
    "evolution": RegularizedEvolution,
    "local_search": LocalSearch,
    "random": RandomSearch,
}

__all__ = ["STRATEGIES", "LocalSearch", "RandomSearch", "RegularizedEvolution"]
