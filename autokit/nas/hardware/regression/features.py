"""What predictors see of architectures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Features(NamedTuple):
    """Rows that describe architectures, in groups; a group may have no columns.

    Attributes
    ----------
    codes : np.ndarray of shape (n, d)
        As the space encodes them.
    simplified : np.ndarray of shape (n, d) or (n, 0)
        Codes of the simplified architectures.
    log_costs : np.ndarray of shape (n, c)
    """

    codes: np.ndarray
    simplified: np.ndarray
    log_costs: np.ndarray

    def take(self, rows: np.ndarray) -> Features:
        """Some of the rows."""
        return Features(*(group[rows] for group in self))
