"""Strategies of continual learning, one file each."""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "AGEM": "agem",
    "DERPlusPlus": "der",
    "ERACE": "er_ace",
    "EWC": "ewc",
    "ICaRL": "icarl",
    "Joint": "joint",
    "LwF": "lwf",
    "MAS": "mas",
    "Naive": "naive",
    "PackNet": "packnet",
    "Progressive": "progressive",
    "Replay": "replay",
    "SI": "si",
}

# Name of the parameter `strategy` -> class.
STRATEGIES = {
    "agem": "AGEM",
    "der++": "DERPlusPlus",
    "er_ace": "ERACE",
    "ewc": "EWC",
    "icarl": "ICaRL",
    "joint": "Joint",
    "lwf": "LwF",
    "mas": "MAS",
    "naive": "Naive",
    "packnet": "PackNet",
    "progressive": "Progressive",
    "replay": "Replay",
    "si": "SI",
}

__all__ = ["STRATEGIES", "make", *_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'autokit.continual.strategies' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def make(strategy: Any):
    """A strategy from its name; an instance is given back.

    Raises
    ------
    ValueError
        No strategy has that name.
    """
    if not isinstance(strategy, str):
        return strategy
    if strategy not in STRATEGIES:
        known = ", ".join(map(repr, STRATEGIES))
        raise ValueError(
            f"The 'strategy' parameter must be one of {known} or an instance of a strategy; got "
            f"{strategy!r}."
        )
    return getattr(importlib.import_module(__name__), STRATEGIES[strategy])()
