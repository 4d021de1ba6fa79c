"""The Gaussian mechanism: golden values of both formulas, and where the old one ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from autokit.privacy import analytic_gaussian_sigma, gaussian_mechanism, gaussian_sigma


def test_the_classical_formula():
    # sqrt(2 ln(1.25e5)) = 4.8448
    assert gaussian_sigma(1.0, 0.5, 1e-5) == pytest.approx(4.844805262605389 / 0.5)
    assert gaussian_sigma(3.0, 0.9, 1e-6) == pytest.approx(
        3 * math.sqrt(2 * math.log(1.25e6)) / 0.9
    )


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_the_classical_formula_ends_at_one(epsilon):
    with pytest.raises(ValueError, match="0 < epsilon < 1; got .*analytic_gaussian_sigma"):
        gaussian_sigma(1.0, epsilon, 1e-5)


@pytest.mark.parametrize("epsilon", [0.1, 0.9, 1.0, 5.0])
def test_the_analytic_noise_meets_its_equation(epsilon):
    # Balle and Wang 2018, theorem 8
    sigma = analytic_gaussian_sigma(2.0, epsilon, 1e-5)
    a, b = 1.0 / sigma, epsilon * sigma / 2.0
    delta = norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b)
    assert delta == pytest.approx(1e-5, rel=1e-6)
    if epsilon < 1:
        assert sigma < gaussian_sigma(2.0, epsilon, 1e-5)


def test_the_mechanism_adds_that_noise():
    value = np.zeros((100, 300))
    noisy = gaussian_mechanism(value, 0.1, 2.0, 1e-5, random_state=0)
    assert noisy.shape == value.shape
    assert noisy.std() == pytest.approx(analytic_gaussian_sigma(0.1, 2.0, 1e-5), rel=0.02)
    again = gaussian_mechanism(value, 0.1, 2.0, 1e-5, random_state=0)
    np.testing.assert_array_equal(noisy, again)
    assert gaussian_mechanism(0.0, 0.1, 2.0, 1e-5) != gaussian_mechanism(0.0, 0.1, 2.0, 1e-5)


@pytest.mark.parametrize(
    ("values", "name"),
    [((0.0, 0.5, 1e-5), "sensitivity"), ((1.0, 0.0, 1e-5), "epsilon"), ((1.0, 0.5, 1.0), "delta")],
)
def test_errors_name_the_parameter(values, name):
    for function in (gaussian_sigma, analytic_gaussian_sigma):
        with pytest.raises(ValueError, match=f"'{name}'"):
            function(*values)
