"""Means, spreads and affine maps over large arrays in bounded memory. Needs NumPy only."""

from __future__ import annotations

import numpy as np

from autokit.preprocessing.validation import FLOAT32_MAX

_CHUNK = 1 << 20


class NotFinite(ValueError):
    """A value is infinite or beyond float32 (the caller knows its name)."""


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, mean and variance of each column, NaN left out, in float64.

    Chunks are merged by ``M2 = M2_a + M2_b + (mean_b - mean_a)^2 n_a n_b / n``.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns), numeric
        Any real dtype; NaN means missing.

    Returns
    -------
    count, mean, variance : ndarray of shape (n_columns,)
        Mean and variance (population) are 0 where the count is 0.

    Raises
    ------
    NotFinite
        If a value is infinite or beyond float32.

    References
    ----------
    Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance, eq. 2.1.
    """
    n_columns = values.shape[1]
    count, mean, squares = (np.zeros(n_columns) for _ in range(3))
    for rows in _chunks(values):
        chunk = values[rows].astype(np.float64)
        # fmax and fmin pass over NaN.
        if np.fmax.reduce(chunk, axis=None, initial=0) > FLOAT32_MAX or (
            np.fmin.reduce(chunk, axis=None, initial=0) < -FLOAT32_MAX
        ):
            raise NotFinite
        seen = ~np.isnan(chunk)
        n = seen.sum(axis=0)
        chunk_mean = np.where(seen, chunk, 0.0).sum(axis=0) / np.maximum(n, 1)
        deviation = np.where(seen, chunk - chunk_mean, 0.0)
        total = np.maximum(count + n, 1)
        step = chunk_mean - mean
        squares += (deviation**2).sum(axis=0) + step**2 * count * n / total
        mean += step * n / total
        count += n
    return count, mean, squares / np.maximum(count, 1)


def spread(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Standard deviations to divide by: 1 for a constant column.

    Parameters
    ----------
    mean, variance : ndarray of shape (n_columns,)
        From :func:`moments`.

    Returns
    -------
    ndarray of shape (n_columns,)
        Positive.
    """
    deviation = np.sqrt(variance)
    # Rounding leaves a constant column of value c a deviation of some eps * |c|, and more if long.
    constant = deviation <= 1000 * np.finfo(np.float64).eps * np.abs(mean)
    return np.where(constant, 1.0, deviation)


def affine(values: np.ndarray, offset: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Return ``(values - offset) * inverse``, computed in float64, as float32.

    Parameters
    ----------
    values : ndarray of shape (n_rows, ...), numeric
        Any real dtype.
    offset, inverse : ndarray that broadcasts over the last axis
        float64.

    Returns
    -------
    ndarray of the shape of `values`, float32
        Infinite where the result is beyond float32.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if values.size <= _CHUNK:
            return ((values - offset) * inverse).astype(np.float32)
        scaled = np.empty(values.shape, np.float32)
        for rows in _chunks(values):
            scaled[rows] = (values[rows] - offset) * inverse
    return scaled


def _chunks(values: np.ndarray) -> list[slice]:
    n_rows = len(values)
    step = max(1, _CHUNK * n_rows // max(1, values.size))
    return [slice(start, start + step) for start in range(0, n_rows, step)]
