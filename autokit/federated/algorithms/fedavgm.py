"""Federated averaging with server momentum."""

from __future__ import annotations

from autokit.federated.protocols import FederatedAlgorithm
from autokit.federated.steps import ServerStep


class FedAvgM(FederatedAlgorithm):
    """Federated averaging with momentum on the server.

    ``v = momentum * v + learning_rate * mean delta; w = w + v``; with ``momentum=0`` it is
    `FedAvg`.

    Parameters
    ----------
    learning_rate : float, default=1.0
        Of the server.
    momentum : float in [0, 1), default=0.9
    nesterov : bool, default=False
    weighted : bool, default=True
        Whether a client counts by its rows; otherwise all count alike.

    References
    ----------
    Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", 2019, section 4.2.
    """

    def __init__(self, learning_rate=1.0, momentum=0.9, nesterov=False, weighted=True):
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.weighted = weighted

    def server(self):
        return ServerStep(
            "sgd",
            learning_rate=float(self.learning_rate),
            momentum=float(self.momentum),
            nesterov=bool(self.nesterov),
        )
