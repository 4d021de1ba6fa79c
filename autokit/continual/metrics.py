"""How much was learnt, kept and carried over, from a matrix of scores.

``scores[i, j]`` is the score on experience j after learning experience i; ``scores[j - 1, j]`` is
what was known of j before it came. Entries that were not measured are NaN.
"""

from __future__ import annotations

import numpy as np


def average_score(scores: np.ndarray) -> float:
    """Mean score on all experiences after the last: ``mean_j scores[-1, j]``."""
    return _mean(scores[-1])


def backward_transfer(scores: np.ndarray) -> float:
    """Mean change since learnt: ``mean_(j<n) scores[-1, j] - scores[j, j]``.

    Negative where something was forgotten (Lopez-Paz and Ranzato 2017, equation 3).
    """
    return _mean(scores[-1, :-1] - np.diag(scores)[:-1])


def forward_transfer(scores: np.ndarray, untrained: np.ndarray) -> float:
    """Mean head start on an experience: ``mean_(j>0) scores[j - 1, j] - untrained[j]``.

    Lopez-Paz and Ranzato 2017, equation 4; `untrained` has the scores of the network as it was
    initialised.
    """
    return _mean(np.diag(scores, k=1) - untrained[1:])


def forgetting(scores: np.ndarray) -> float:
    """Mean fall from the best score ever: ``mean_(j<n) max_i scores[i, j] - scores[-1, j]``.

    Chaudhry et al. 2018, equation 3: the best is over the experiences from j to the one before
    the last.
    """
    n = len(scores)
    falls = [np.nanmax(scores[j : n - 1, j], initial=-np.inf) - scores[-1, j] for j in range(n - 1)]
    return _mean(np.where(np.isinf(falls), np.nan, falls))


def _mean(values) -> float:
    values = np.asarray(values, float)
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if len(measured) else float("nan")
