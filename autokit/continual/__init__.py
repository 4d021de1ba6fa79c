"""Continual learning: task after task with one model, and how much of each is kept.

Names are loaded when first used.
"""

from __future__ import annotations

from autokit.names import lazy

_PUBLIC = {
    "AGEM": "strategies",
    "Chain": "protocols",
    "ContinualModel": "estimator",
    "ContinualRegressor": "regressor",
    "ContinualWarning": "lifecycle",
    "DERPlusPlus": "strategies",
    "ERACE": "strategies",
    "EWC": "strategies",
    "Experience": "protocols",
    "ICaRL": "strategies",
    "Joint": "strategies",
    "LwF": "strategies",
    "MAS": "strategies",
    "Memory": "memory",
    "Naive": "strategies",
    "PackNet": "strategies",
    "Progressive": "strategies",
    "Replay": "strategies",
    "SI": "strategies",
    "STRATEGIES": "strategies",
    "Strategy": "protocols",
    "TracedStep": "protocols",
    "chain": "protocols",
    "plot_forgetting": "plot",
}

__all__ = list(_PUBLIC)

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
