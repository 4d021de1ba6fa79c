"""Neural architecture search: spaces, strategies, evaluators, and the estimators over them.

Names are loaded when first used: strategies and storage need neither TensorFlow nor Keras.
"""

from __future__ import annotations

from autokit.names import lazy

_PUBLIC = {
    "BayesianOptimization": "strategies",
    "Budget": "protocols",
    "CNNArchitecture": "spaces",
    "CNNSpace": "spaces",
    "CELL_SPACE_OPS": "spaces",
    "DARTS_OPS": "spaces",
    "CellArchitecture": "spaces",
    "CellSpace": "spaces",
    "Choice": "spaces",
    "Choices": "spaces",
    "Evaluation": "protocols",
    "Evaluator": "protocols",
    "FeasibleSpace": "hardware",
    "FullTraining": "schedule",
    "HardwareConstraints": "hardware",
    "Infeasible": "hardware",
    "Hyperband": "schedule",
    "LocalSearch": "strategies",
    "MLPArchitecture": "spaces",
    "MLPSpace": "spaces",
    "NASClassifier": "estimator",
    "NASRegressor": "estimator",
    "NB201Architecture": "spaces",
    "NB201Space": "spaces",
    "NB201_OPS": "spaces",
    "NSGA2": "strategies",
    "ProductSpace": "spaces",
    "ProxyGate": "warmup",
    "RandomSearch": "strategies",
    "RegularizedEvolution": "strategies",
    "Reinforce": "strategies",
    "SearchFailed": "search",
    "SearchResult": "result",
    "SearchSpace": "protocols",
    "SearchStorage": "storage",
    "SearchStrategy": "protocols",
    "SuccessiveHalving": "schedule",
    "SharedWeights": "evaluators",
    "Supernet": "oneshot",
    "SupernetHistory": "oneshot",
    "TPE": "strategies",
    "Task": "evaluators",
    "TrainEvaluator": "evaluators",
    "WarmUp": "warmup",
    "darts": "oneshot",
    "enas": "oneshot",
    "ZeroCostEvaluator": "evaluators",
    "plot_cell": "spaces",
    "warm_start": "warmup",
    "hypervolume": "pareto",
    "non_dominated": "pareto",
}

__all__ = list(_PUBLIC)

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
