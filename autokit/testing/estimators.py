"""The contract of every public estimator, as tests to reuse.

A new estimator joins with one row in `TINY`::

    @parametrize_with_checks(tiny_estimators(), expected_failed_checks=expected_failures)
    def test_contract(estimator, check):
        check(estimator)
"""

from __future__ import annotations

import importlib
from typing import Any

_KERAS = {"epochs": 12, "batch_size": 16, "learning_rate": 0.01, "random_state": 0}
_FEDERATED = {"n_rounds": 12, "batch_size": 16, "random_state": 0}
# two architectures, so that nearly every fit finds its compiled program
_TINY_SPACE = {
    "widths": (16, 32),
    "max_depth": 1,
    "activations": ("relu",),
    "normalizations": (None,),
    "dropouts": (0.0,),
    "residuals": (False,),
}
_NAS = _KERAS | {"max_trials": 2, "time_budget_s": None, "learning_rate": 0.02}

# Estimator -> parameters with which it trains in well under a second and still learns.
TINY: dict[str, dict[str, Any]] = {
    "ContinualModel": _KERAS,
    "ContinualRegressor": _KERAS,
    "FederatedRegressor": _FEDERATED,
    "FederatedTrainer": _FEDERATED,
    "FewShotLearner": {"n_way": 2, "n_query": 1, "n_episodes": 100, "random_state": 0},
    "FewShotRegressor": {
        "k_shot": 3,
        "n_query": 3,
        "n_episodes": 1200,
        "meta_batch_size": 8,
        "inner_learning_rate": 0.05,
        "outer_learning_rate": 0.005,
        "random_state": 0,
    },
    "KerasClassifier": _KERAS,
    "KerasRegressor": _KERAS,
    "NASClassifier": _NAS,
    "NASRegressor": _NAS,
}

_MINI_BATCHES = (
    "training is stochastic gradient descent over mini-batches: a row of weight 2 takes part in "
    "one step, a row that stands twice in two"
)
_HOLDS_OUT = (
    "the search holds out a share of the rows to compare architectures: a row that stands twice "
    "may be on both sides"
)

_FOLDS_FAIL = (
    "a fit that fails is a trial that fails: where all do, the user gets one ValueError that tells "
    "the first cause, and not the TypeError of a fit"
)

_ONE_ROW = (
    "TensorFlow multiplies a single row by another kernel than several: float32 outputs differ in "
    "the last bits, the check allows 1e-7; answering one row as two would double its latency"
)


def tiny(name: str, **parameters):
    """An unfitted public estimator with its tiny settings, changed by `parameters`."""
    if TINY[name] is _NAS and "space" not in parameters:
        from autokit.nas import MLPSpace

        parameters = parameters | {"space": MLPSpace(**_TINY_SPACE)}
    return getattr(importlib.import_module("autokit"), name)(**(TINY[name] | parameters))


def tiny_estimators() -> list:
    """One tiny instance of every public estimator."""
    return [tiny(name) for name in TINY]


def tiny_searches() -> list:
    """Searches over estimators that cost nothing: what the checks are about is the search."""
    from sklearn.linear_model import LogisticRegression, Ridge

    from autokit import TunerSearchCV

    settings = {"n_trials": 2, "cv": 2, "random_state": 0}
    return [
        TunerSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, **settings),
        TunerSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, **settings),
    ]


def expected_failures(estimator) -> dict[str, str]:
    """scikit-learn checks that cannot hold for an estimator, each with its reason."""
    name = type(estimator).__name__
    if hasattr(estimator, "estimator"):
        return {"check_dtype_object": _FOLDS_FAIL}
    failures = {
        "check_sample_weight_equivalence_on_dense_data": (
            _HOLDS_OUT if name.startswith("NAS") else _MINI_BATCHES
        )
    }
    if name.endswith("Regressor"):
        failures["check_methods_subset_invariance"] = _ONE_ROW
    return failures
