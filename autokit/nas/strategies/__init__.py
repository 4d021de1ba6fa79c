"""Search strategies, by the name that `NASClassifier` takes."""

from __future__ import annotations

from autokit.nas.strategies.bayesian import BayesianOptimization
from autokit.nas.strategies.evolution import RegularizedEvolution
from autokit.nas.strategies.local_search import LocalSearch
from autokit.nas.strategies.nsga2 import NSGA2
from autokit.nas.strategies.random import RandomSearch
from autokit.nas.strategies.reinforce import Reinforce
from autokit.nas.strategies.tpe import TPE

STRATEGIES = {
    "bayesian": BayesianOptimization,
    "evolution": RegularizedEvolution,
    "local_search": LocalSearch,
    "nsga2": NSGA2,
    "random": RandomSearch,
    "reinforce": Reinforce,
    "tpe": TPE,
}

__all__ = [
    "NSGA2",
    "STRATEGIES",
    "TPE",
    "BayesianOptimization",
    "LocalSearch",
    "RandomSearch",
    "RegularizedEvolution",
    "Reinforce",
]
