"""Sums of clipped rows with Gaussian noise, on matrices of NumPy; and clipping that adapts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

# Float32 rows scaled to a norm may lie above it by rounding.
ROUNDING = 1e-5


def clip_rows(matrix: np.ndarray, norm: float) -> tuple[np.ndarray, np.ndarray]:
    """Scale the rows down to an l2 norm.

    ``row * min(1, norm / |row|)``; a row that is not finite becomes zeros, lest one row spoil
    the sum, and so tell of itself.

    Parameters
    ----------
    matrix : array of shape (n_rows, n_columns)
    norm : float > 0

    Returns
    -------
    clipped : np.ndarray of shape (n_rows, n_columns)
        A new array of the same precision.
    was_clipped : np.ndarray of bool of shape (n_rows,)

    Examples
    --------
    >>> import numpy as np
    >>> clipped, was_clipped = clip_rows(np.array([[3.0, 4.0], [0.0, 0.5]]), 1.0)
    >>> clipped.round(6).tolist(), was_clipped.tolist()
    ([[0.6, 0.8], [0.0, 0.5]], [True, False])
    """
    if not norm > 0:
        raise ValueError(f"The 'norm' parameter must be above 0; got {norm!r}.")
    matrix = np.asarray(matrix)
    norms = _norms(matrix)
    finite = np.isfinite(norms)
    was_clipped = ~(norms <= norm)
    factors = np.ones(len(matrix))
    factors[was_clipped & finite] = norm / norms[was_clipped & finite]
    rows = np.where(finite[:, None], matrix, 0)
    return (rows * factors[:, None]).astype(matrix.dtype), was_clipped


def private_sum(
    clipped: np.ndarray, clip_norm: float, noise_multiplier: float, rng: np.random.Generator
) -> np.ndarray:
    """The Gaussian mechanism on a sum of clipped rows.

    ``sum_i row_i + N(0, (noise_multiplier * clip_norm)^2)``

    Parameters
    ----------
    clipped : array of shape (n_rows, n_columns)
        Of norm `clip_norm` at most, as `clip_rows` gives them; there may be none.
    clip_norm : float > 0
    noise_multiplier : float >= 0
    rng : np.random.Generator

    Returns
    -------
    np.ndarray of float64 of shape (n_columns,)
        Divide it by a number that does not tell who took part: the expected number of rows.

    Raises
    ------
    ValueError
        A row is longer than `clip_norm`: the noise would not hide it.
    """
    clipped = np.asarray(clipped)
    longest = _norms(clipped).max(initial=0.0)
    if not longest <= clip_norm * (1 + ROUNDING):
        raise ValueError(
            f"A row has norm {longest:g}, above clip_norm = {clip_norm:g}: the noise would not "
            "hide it. Clip the rows first: clip_rows(matrix, clip_norm)."
        )
    total = clipped.sum(axis=0, dtype=np.float64)
    return total + rng.normal(0.0, noise_multiplier * clip_norm, total.shape)


def _norms(matrix: np.ndarray) -> np.ndarray:
    if matrix.ndim != 2:
        raise ValueError(
            f"A matrix of shape (n_rows, n_columns) is expected; got shape {matrix.shape}. "
            "Flatten what belongs to one row: matrix.reshape(n_rows, -1)."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        return np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64, casting="safe"))


@dataclass(frozen=True)
class AdaptiveClip:
    """A clipping norm that follows a quantile of the norms it meets.

    ``norm <- norm * exp(-learning_rate * (share - quantile))`` where `share` is that of the rows
    whose norm is at most `norm`, with noise.

    Parameters
    ----------
    norm : float, default=0.1
    quantile : float in (0, 1), default=0.5
    learning_rate : float, default=0.2
    count_noise : float, default=0.05
        Standard deviation of the noise on the count of rows within the norm, by the expected
        number of rows: a twentieth of it in the paper.

    References
    ----------
    Andrew, Thakkar, McMahan, Ramaswamy, "Differentially Private Learning with Adaptive Clipping",
    2021, algorithm 1.
    """

    norm: float = 0.1
    quantile: float = 0.5
    learning_rate: float = 0.2
    count_noise: float = 0.05


def split_noise(
    noise_multiplier: float, expected_rows: float, clip: AdaptiveClip | None = None
) -> float:
    """The noise left for the sum when the count of rows within the norm is published too.

    ``(z^-2 - (2 sigma_b)^-2)^(-1/2)`` with ``sigma_b = count_noise * expected_rows``: both
    together spend what one sum with noise z spends.

    Parameters
    ----------
    noise_multiplier : float
        z, of the step as a whole.
    expected_rows : float
        Of a step.
    clip : AdaptiveClip, default=None

    Returns
    -------
    float
        Standard deviation of the sum's noise by the clipping norm; a little above z.

    Raises
    ------
    ValueError
        So few rows that the count alone would spend more than that.
    """
    count_noise = (clip or AdaptiveClip()).count_noise
    left = noise_multiplier**-2 - (2.0 * count_noise * expected_rows) ** -2
    if left <= 0:
        raise ValueError(
            f"clip_norm='adaptive' needs more than {noise_multiplier / (2 * count_noise):.0f} rows "
            f"or clients in a step at the noise multiplier {noise_multiplier:.2f}; it has "
            f"{expected_rows:g}. Take more of them into a step, or give clip_norm a number."
        )
    return left**-0.5


def adapted(
    clip: AdaptiveClip, was_clipped: np.ndarray, expected_rows: float, rng: np.random.Generator
) -> AdaptiveClip:
    """The clipping norm after a step.

    Parameters
    ----------
    clip : AdaptiveClip
    was_clipped : array of bool of shape (n_rows,)
        Of the rows that took part, as `clip_rows` tells.
    expected_rows : float
        How many take part on average.
    rng : np.random.Generator

    Returns
    -------
    AdaptiveClip
    """
    # counted as +-1/2 a row, not 0 or 1, so that one row more or less changes it by a half
    count = np.sum(~np.asarray(was_clipped, bool) - 0.5)
    count += rng.normal(0.0, clip.count_noise * expected_rows)
    share = 0.5 + count / expected_rows
    factor = np.exp(-clip.learning_rate * (share - clip.quantile))
    return replace(clip, norm=float(clip.norm * factor))
