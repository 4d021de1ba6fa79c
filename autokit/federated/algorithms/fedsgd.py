"""Federated SGD."""

from __future__ import annotations

from typing import ClassVar

from autokit.federated.protocols import FederatedAlgorithm


class FedSGD(FederatedAlgorithm):
    """One gradient of each client on all its rows, and one step along their mean.

    ``w = w - rate * sum_k n_k / n * gradient_k(w)``: `local_epochs` and `batch_size` do not
    matter, and `client_learning_rate` is the rate of the step.

    Parameters
    ----------
    weighted : bool, default=True
        Whether a client counts by its rows; otherwise all count alike.

    References
    ----------
    McMahan et al., AISTATS 2017, section 2, the baseline.
    """

    whole_batch: ClassVar[bool] = True

    def __init__(self, weighted=True):
        self.weighted = weighted
