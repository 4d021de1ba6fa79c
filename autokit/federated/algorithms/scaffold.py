"""SCAFFOLD: control variates against the drift of clients."""

from __future__ import annotations

from typing import ClassVar

from autokit.federated.protocols import FederatedAlgorithm
from autokit.federated.steps import ServerStep


class Scaffold(FederatedAlgorithm):
    """Clients correct their gradients by how theirs differ from everybody's.

    ::

        client:  w_k = w - rate * (gradient(w_k) - c_k + c)          K steps
                 c_k' = c_k - c + (w - w_k) / (K * rate)             (option II)
        server:  w = w + learning_rate * mean(w_k - w)
                 c = c + (clients in the round / all clients) * mean(c_k' - c_k)

    `c` and all `c_k` start at 0; with one client it is SGD. Twice the bytes of `FedAvg`, both
    ways, and every client keeps a vector as long as the weights.

    Parameters
    ----------
    learning_rate : float, default=1.0
        Of the server.
    weighted : bool, default=False
        Whether a client counts by its rows in the mean of the weights; the paper's count alike.

    References
    ----------
    Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", ICML
    2020, algorithm 1.
    """

    has_variates: ClassVar[bool] = True

    def __init__(self, learning_rate=1.0, weighted=False):
        self.learning_rate = learning_rate
        self.weighted = weighted

    def correction(self, shared, kept):
        return shared - kept

    def leave(self, shared, kept, delta, n_steps, rate):
        return kept - shared - delta / (n_steps * rate)

    def server(self):
        return ServerStep("sgd", learning_rate=float(self.learning_rate))

    def absorb(self, shared, change, share):
        return shared + share * change
