"""Federated averaging with Adagrad on the server."""

from __future__ import annotations

from autokit.federated.protocols import FederatedAlgorithm
from autokit.federated.steps import ServerStep


class FedAdagrad(FederatedAlgorithm):
    """Federated averaging with Adagrad on the server.

    ::

        g = -mean delta
        m = beta_1 * m + (1 - beta_1) * g
        v = v + g^2
        w = w - learning_rate * m / (sqrt(v) + epsilon)

    `v` starts at ``epsilon^2``.

    Parameters
    ----------
    learning_rate : float, default=0.01
        Of the server. The paper tunes it between 0.001 and 10.
    beta_1 : float in [0, 1), default=0.0
    epsilon : float, default=0.001
        The paper's tau: how much the step adapts.
    weighted : bool, default=True
        Whether a client counts by its rows; otherwise all count alike.

    References
    ----------
    Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2.
    """

    def __init__(self, learning_rate=0.01, beta_1=0.0, epsilon=1e-3, weighted=True):
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.epsilon = epsilon
        self.weighted = weighted

    def server(self):
        return ServerStep(
            "adagrad",
            learning_rate=float(self.learning_rate),
            beta_1=float(self.beta_1),
            epsilon=float(self.epsilon),
            initial=float(self.epsilon) ** 2,
        )
