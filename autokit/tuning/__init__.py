"""Hyperparameter search: keras-tuner's oracles and Optuna's samplers behind `TunerSearchCV`."""

from __future__ import annotations

import importlib

_PUBLIC = {
    "Categorical": "dimensions",
    "Float": "dimensions",
    "Int": "dimensions",
    "TunerSearchCV": "estimator",
    "plot_intermediate_values": "plots",
    "plot_optimization_history": "plots",
    "plot_parallel_coordinate": "plots",
    "plot_param_importances": "plots",
    "plot_pareto_front": "plots",
    "plot_slice": "plots",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str):
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"autokit.tuning.{_PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'autokit.tuning' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
