"""Krum and multi-Krum."""

from __future__ import annotations

from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit.federated.protocols import Aggregator


class Krum(Aggregator):
    """The one update that lies nearest to its neighbours.

    ``score(i) = sum of |delta_i - delta_j|^2 over the n - f - 2 nearest j != i``, for n clients of
    which f are hostile; the update with the least score is taken as it is.

    Parameters
    ----------
    n_byzantine : int or float in [0, 0.5), default=0.25
        Hostile clients of a round that it holds against: a number, or a share of them, rounded
        down. The proof needs ``2 f + 2 < n``: a number must leave so many, a share is lowered to
        it where clients drop out.

    References
    ----------
    Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
    NeurIPS 2017, section 4.
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_byzantine": [
            Interval(Integral, 0, None, closed="left"),
            Interval(Real, 0, 0.5, closed="left"),
        ],
    }

    def __init__(self, n_byzantine=0.25):
        self.n_byzantine = n_byzantine

    def combine(self, updates, weights):
        return updates[np.argmin(self.scores(updates))].copy()

    def scores(self, updates: np.ndarray) -> np.ndarray:
        """Sum of squared distances to the nearest others, of shape (n_clients,).

        Raises
        ------
        ValueError
            There are too few clients for so many hostile ones.
        """
        n, f = len(updates), self._hostile(len(updates))
        if n <= 2 * f + 2 and f:
            raise ValueError(
                f"The 'aggregator' parameter is {self!r}: {f} hostile clients need at least "
                f"{2 * f + 3} updates in a round, got {n}; raise 'clients_per_round' or lower "
                "'n_byzantine'."
            )
        squares = np.einsum("ij,ij->i", updates, updates, dtype=np.float64)
        products = updates.astype(np.float64) @ updates.astype(np.float64).T
        distances = np.maximum(squares[:, None] + squares[None] - 2 * products, 0)
        np.fill_diagonal(distances, np.inf)
        nearest = min(max(n - f - 2, 1), n - 1)
        if not nearest:
            return np.zeros(n)
        return np.sort(distances, axis=1)[:, :nearest].sum(axis=1)

    def _hostile(self, n: int) -> int:
        if isinstance(self.n_byzantine, Integral):
            return int(self.n_byzantine)
        return min(int(n * self.n_byzantine + 1e-9), max(0, (n - 3) // 2))


class MultiKrum(Krum):
    """The mean of the updates with the least scores of `Krum`.

    Parameters
    ----------
    n_byzantine : int or float in [0, 0.5), default=0.25
        As of `Krum`.
    n_chosen : int or None, default=None
        How many updates are averaged; None is all but the hostile ones.

    References
    ----------
    Blanchard et al., NeurIPS 2017, section 6, "Multi-Krum".
    """

    _parameter_constraints: ClassVar[dict] = Krum._parameter_constraints | {
        "n_chosen": [None, Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, n_byzantine=0.25, n_chosen=None):
        super().__init__(n_byzantine)
        self.n_chosen = n_chosen

    def combine(self, updates, weights):
        chosen = self.n_chosen or len(updates) - self._hostile(len(updates))
        best = np.argsort(self.scores(updates), kind="stable")[:chosen]
        return updates[best].mean(axis=0)
