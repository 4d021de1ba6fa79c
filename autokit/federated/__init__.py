"""Federated learning: one model from rows that stay where they are.

Names are loaded when first used.
"""

from __future__ import annotations

from autokit.names import lazy

_PUBLIC = {
    "AGGREGATORS": "aggregators",
    "ALGORITHMS": "algorithms",
    "Aggregator": "protocols",
    "Communication": "protocols",
    "EmbeddedEngine": "engines",
    "FedAdagrad": "algorithms",
    "FedAdam": "algorithms",
    "FedAvg": "algorithms",
    "FedAvgM": "algorithms",
    "FedProx": "algorithms",
    "FedSGD": "algorithms",
    "FedYogi": "algorithms",
    "FederatedAlgorithm": "protocols",
    "FederatedEngine": "protocols",
    "FederatedRegressor": "regressor",
    "FederatedTrainer": "estimator",
    "FederatedWarning": "protocols",
    "FlowerEngine": "engines",
    "Krum": "aggregators",
    "Mean": "aggregators",
    "Median": "aggregators",
    "MultiKrum": "aggregators",
    "NormClipping": "aggregators",
    "QuantizedUpdates": "communication",
    "Scaffold": "algorithms",
    "ServerStep": "steps",
    "TFFEngine": "engines",
    "TopKUpdates": "communication",
    "TrimmedMean": "aggregators",
    "partition_by_labels": "partition",
    "partition_by_quantity": "partition",
    "partition_dirichlet": "partition",
    "partition_iid": "partition",
    "plot_partition": "plot",
}

__all__ = list(_PUBLIC)

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
