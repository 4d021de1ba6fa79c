"""Norm clipping around another aggregator."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from autokit.federated.arguments import made
from autokit.federated.protocols import Aggregator


class NormClipping(Aggregator):
    """Updates longer than a norm are shortened to it, and then aggregated.

    ``delta_k = delta_k * min(1, norm / |delta_k|)``

    Parameters
    ----------
    norm : float > 0, or "median", default="median"
        Euclidean, of the whole update; "median" is the median norm of the round's updates.
    inner : Aggregator or None, default=None
        What aggregates the shortened ones; None is the mean.

    References
    ----------
    Sun et al., "Can You Really Backdoor Federated Learning?", 2019, section 4.
    """

    _parameter_constraints: ClassVar[dict] = {
        "norm": [Interval(Real, 0, None, closed="neither"), StrOptions({"median"})],
        "inner": [None, HasMethods(["combine", "limited"])],
    }

    def __init__(self, norm="median", inner=None):
        self.norm = norm
        self.inner = inner

    def _validate_params(self):
        super()._validate_params()
        made("inner", self.inner, {}, Aggregator)

    @property
    def is_mean(self) -> bool:
        return self.norm != "median" and (self.inner is None or self.inner.is_mean)

    def limited(self, updates):
        if self.norm != "median":
            updates = _shortened(updates, float(self.norm))
        return updates if self.inner is None else self.inner.limited(updates)

    def combine(self, updates, weights):
        if self.norm == "median":
            norms = np.linalg.norm(updates, axis=1)
            updates = _shortened(updates, float(np.median(norms)))
        if self.inner is not None:
            return self.inner.combine(updates, weights)
        return (weights / weights.sum()).astype(np.float32) @ updates


def _shortened(updates: np.ndarray, norm: float) -> np.ndarray:
    norms = np.linalg.norm(updates, axis=1)
    factors = np.minimum(1.0, norm / np.maximum(norms, 1e-30)).astype(np.float32)
    return updates * factors[:, None]
