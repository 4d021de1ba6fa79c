"""FedProx."""

from __future__ import annotations

from autokit.federated.protocols import FederatedAlgorithm
from autokit.training import quadratic_penalty


class FedProx(FederatedAlgorithm):
    """Federated averaging whose clients are pulled back to where they started.

    ``client loss = loss + mu / 2 * |w_k - w|^2``; with ``mu=0`` it is `FedAvg`.

    Parameters
    ----------
    mu : float >= 0, default=0.01
        The paper tries 0.001, 0.01, 0.1 and 1.
    weighted : bool, default=True
        Whether a client counts by its rows; otherwise all count alike.

    References
    ----------
    Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, algorithm 2. Its
    clients solve to a given inexactness; as in its experiments they take a fixed number of epochs.
    """

    def __init__(self, mu=0.01, weighted=True):
        self.mu = mu
        self.weighted = weighted

    def objective(self, objective, anchor):
        return quadratic_penalty(objective, anchor, float(self.mu) / 2)
