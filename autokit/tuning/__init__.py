"""Hyperparameter search: keras-tuner's oracles and Optuna's samplers behind `TunerSearchCV`."""

from __future__ import annotations

from autokit.names import lazy

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

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
