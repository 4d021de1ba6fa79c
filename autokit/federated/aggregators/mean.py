"""The weighted mean."""

from __future__ import annotations

import numpy as np

from autokit.federated.protocols import Aggregator


class Mean(Aggregator):
    """The weighted mean, ``sum_k n_k delta_k / sum_k n_k``. One client can pull it anywhere."""

    is_mean = True

    def combine(self, updates, weights):
        share = (weights / weights.sum()).astype(np.float32)
        return share @ updates
