"""Continual learning: task after task with one model, and how much of each is kept.

Names are loaded when first used.
"""

from __future__ import annotations

import importlib

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


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'autokit.continual' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"autokit.continual.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
