"""The coordinate-wise trimmed mean."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit.federated.protocols import Aggregator


class TrimmedMean(Aggregator):
    """The mean of each coordinate without its largest and smallest values; clients count alike.

    Parameters
    ----------
    share : float in [0, 0.5), default=0.25
        Of the clients, rounded down, that is cut off at each end: how many hostile ones it holds
        against.

    References
    ----------
    Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML
    2018, definition 2.
    """

    _parameter_constraints: ClassVar[dict] = {"share": [Interval(Real, 0, 0.5, closed="left")]}

    def __init__(self, share=0.25):
        self.share = share

    def combine(self, updates, weights):
        n = len(updates)
        cut = int(n * self.share + 1e-9)  # 1e-9: 0.3 * 10 is 2.9999999999999996
        if not cut:
            return updates.mean(axis=0)
        middle = np.partition(updates, (cut, n - cut - 1), axis=0)[cut : n - cut]
        return middle.mean(axis=0)
