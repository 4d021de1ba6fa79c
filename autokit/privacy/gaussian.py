"""The Gaussian mechanism, once."""

from __future__ import annotations

import math

import numpy as np

from autokit.privacy.accounting import dp_accounting


def gaussian_sigma(sensitivity: float, epsilon: float, delta: float) -> float:
    """The classical noise of the Gaussian mechanism.

    ``sigma = sqrt(2 ln(1.25 / delta)) * sensitivity / epsilon``, proven for epsilon below 1.

    Parameters
    ----------
    sensitivity : float > 0
        How far one row, added or removed, can move the value (l2).
    epsilon : float in (0, 1)
    delta : float in (0, 1)

    Returns
    -------
    float

    Raises
    ------
    ValueError
        The formula does not hold there.

    References
    ----------
    Dwork, Roth, "The Algorithmic Foundations of Differential Privacy", 2014, theorem A.1.

    Examples
    --------
    >>> round(gaussian_sigma(1.0, 0.5, 1e-5), 3)
    9.69
    """
    _check(sensitivity, epsilon, delta)
    if epsilon >= 1:
        raise ValueError(
            f"The classical Gaussian mechanism is proven for 0 < epsilon < 1; got {epsilon!r}. "
            "Use analytic_gaussian_sigma, which holds for every epsilon and asks for less noise."
        )
    return math.sqrt(2.0 * math.log(1.25 / delta)) * sensitivity / epsilon


def analytic_gaussian_sigma(sensitivity: float, epsilon: float, delta: float) -> float:
    """The smallest noise of the Gaussian mechanism, for any epsilon.

    Parameters
    ----------
    sensitivity : float > 0
        How far one row, added or removed, can move the value (l2).
    epsilon : float > 0
    delta : float in (0, 1)

    Returns
    -------
    float

    References
    ----------
    Balle, Wang, "Improving the Gaussian Mechanism for Differential Privacy", 2018, theorem 8;
    dp-accounting solves it.

    Examples
    --------
    >>> round(analytic_gaussian_sigma(1.0, 0.5, 1e-5), 3)
    7.032
    """
    _check(sensitivity, epsilon, delta)
    return sensitivity * float(dp_accounting().get_sigma_gaussian(epsilon, delta))


def gaussian_mechanism(
    value, sensitivity: float, epsilon: float, delta: float, random_state=None
) -> np.ndarray:
    """A value with the least Gaussian noise that makes it (epsilon, delta)-private.

    Parameters
    ----------
    value : float or array
    sensitivity : float > 0
        How far one row, added or removed, can move the value (l2, over the whole array).
    epsilon : float > 0
    delta : float in (0, 1)
    random_state : int, np.random.Generator or None, default=None
        Whoever knows it can take the noise away: leave it None outside of tests.

    Returns
    -------
    np.ndarray of float64, of the value's shape
    """
    value = np.asarray(value, dtype=np.float64)
    sigma = analytic_gaussian_sigma(sensitivity, epsilon, delta)
    return value + np.random.default_rng(random_state).normal(0.0, sigma, value.shape)


def _check(sensitivity, epsilon, delta) -> None:
    if not 0 < sensitivity < math.inf:
        raise ValueError(f"The 'sensitivity' parameter must be above 0; got {sensitivity!r}.")
    if not 0 < epsilon < math.inf:
        raise ValueError(f"The 'epsilon' parameter must be above 0; got {epsilon!r}.")
    if not 0 < delta < 1:
        raise ValueError(f"The 'delta' parameter must be in the range (0, 1); got {delta!r}.")
