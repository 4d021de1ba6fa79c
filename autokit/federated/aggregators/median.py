"""The coordinate-wise median."""

from __future__ import annotations

import numpy as np

from autokit.federated.protocols import Aggregator


class Median(Aggregator):
    """The median of each coordinate for itself; clients count alike.

    Holds while fewer than half of the clients are hostile. Of an even number of clients it is the
    mean of the two in the middle.

    References
    ----------
    Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML
    2018, definition 1.
    """

    def combine(self, updates, weights):
        return np.median(updates, axis=0).astype(np.float32)
