"""The contract of every public estimator, as tests to reuse.

A new estimator joins with one row in `TINY`::

    @parametrize_with_checks(tiny_estimators(), expected_failed_checks=expected_failures)
    def test_contract(estimator, check):
        check(estimator)
"""

from __future__ import annotations

import importlib
from typing import Any

# Estimator -> parameters with which it trains in well under a second and still learns.
TINY: dict[str, dict[str, Any]] = {
    "KerasClassifier": {"epochs": 12, "batch_size": 16, "learning_rate": 0.01, "random_state": 0},
    "KerasRegressor": {"epochs": 12, "batch_size": 16, "learning_rate": 0.01, "random_state": 0},
    "NASClassifier": {
        "max_trials": 2, "time_budget_s": None, "epochs": 12, "batch_size": 16, "random_state": 0
    },
    "NASRegressor": {
        "max_trials": 2, "time_budget_s": None, "epochs": 12, "batch_size": 16, "random_state": 0
    },
}  # fmt: skip

_MINI_BATCHES = (
    "training is stochastic gradient descent over mini-batches: a row of weight 2 takes part in "
    "one step, a row that stands twice in two"
)
_HOLDS_OUT = (
    "the search holds out a share of the rows to compare architectures: a row that stands twice "
    "may be on both sides"
)


def tiny(name: str, **parameters):
    """An unfitted public estimator with its tiny settings, changed by `parameters`."""
    return getattr(importlib.import_module("autokit"), name)(**(TINY[name] | parameters))


def tiny_estimators() -> list:
    """One tiny instance of every public estimator."""
    return [tiny(name) for name in TINY]


def expected_failures(estimator) -> dict[str, str]:
    """scikit-learn checks that cannot hold for an estimator, each with its reason."""
    searches = type(estimator).__name__.startswith("NAS")
    return {
        "check_sample_weight_equivalence_on_dense_data": _HOLDS_OUT if searches else _MINI_BATCHES
    }
