"""Federated averaging with Adam on the server."""

from __future__ import annotations

from typing import ClassVar

from autokit.federated.protocols import FederatedAlgorithm
from autokit.federated.steps import ServerStep


class FedAdam(FederatedAlgorithm):
    """Federated averaging with Adam on the server.

    ::

        g = -mean delta
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g^2
        w = w - learning_rate * m / (sqrt(v) + epsilon)

    without bias correction; `v` starts at ``epsilon^2``.

    Parameters
    ----------
    learning_rate : float, default=0.01
        Of the server. The paper tunes it between 0.001 and 10.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.99
    epsilon : float, default=0.001
        The paper's tau: how much the step adapts.
    weighted : bool, default=True
        Whether a client counts by its rows; otherwise all count alike.

    References
    ----------
    Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2.
    """

    _rule: ClassVar[str] = "fed_adam"

    def __init__(self, learning_rate=0.01, beta_1=0.9, beta_2=0.99, epsilon=1e-3, weighted=True):
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.weighted = weighted

    def server(self):
        return ServerStep(
            self._rule,
            learning_rate=float(self.learning_rate),
            beta_1=float(self.beta_1),
            beta_2=float(self.beta_2),
            epsilon=float(self.epsilon),
        )
