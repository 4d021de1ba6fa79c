"""Federated averaging."""

from __future__ import annotations

from autokit.federated.protocols import FederatedAlgorithm


class FedAvg(FederatedAlgorithm):
    """Federated averaging: local SGD, and the mean of what it made of the weights.

    ::

        client:  w_k = w; for batch: w_k = w_k - rate * gradient(loss)(w_k, batch)
        server:  w = w + sum_k n_k / n * (w_k - w)

    Parameters
    ----------
    weighted : bool, default=True
        Whether a client counts by its rows; otherwise all count alike.

    References
    ----------
    McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    AISTATS 2017, algorithm 1.
    """

    def __init__(self, weighted=True):
        self.weighted = weighted
