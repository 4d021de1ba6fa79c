"""Clipped rows, noisy sums, and a norm that follows the median."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autokit.privacy import AdaptiveClip, adapted, clip_rows, private_sum, split_noise

RNG = np.random.default_rng(0)


def test_rows_are_cut_to_the_norm_and_no_further():
    matrix = RNG.normal(size=(50, 7)).astype(np.float32) * RNG.uniform(0.01, 3, (50, 1))
    matrix = matrix.astype(np.float32)
    clipped, was_clipped = clip_rows(matrix, 1.0)
    for row, cut, was in zip(matrix, clipped, was_clipped, strict=True):
        norm = np.linalg.norm(row.astype(np.float64))
        np.testing.assert_allclose(cut, row / max(1.0, norm), rtol=1e-6)
        assert was == (norm > 1.0)
    assert clipped.dtype == np.float32 and 0 < was_clipped.sum() < 50


def test_rows_that_are_not_finite_count_as_zero():
    matrix = np.array([[np.nan, 1.0], [np.inf, 0.0], [1e200, 1e200], [0.3, 0.4]])
    clipped, was_clipped = clip_rows(matrix, 1.0)
    assert clipped.tolist() == [[0, 0], [0, 0], [0, 0], [0.3, 0.4]]
    assert was_clipped.tolist() == [True, True, True, False]


def test_the_sum_has_the_noise_that_was_asked_for():
    rows = clip_rows(RNG.normal(size=(10, 20000)), 0.5)[0]
    noise = private_sum(rows, 0.5, 3.0, np.random.default_rng(1)) - rows.sum(axis=0)
    assert noise.std() == pytest.approx(1.5, rel=0.02)
    assert abs(noise.mean()) < 0.05
    np.testing.assert_allclose(private_sum(rows, 0.5, 0.0, RNG), rows.sum(axis=0))
    assert private_sum(rows[:0], 0.5, 1.0, RNG).shape == (20000,)


def test_rows_that_nobody_clipped_are_refused():
    with pytest.raises(ValueError, match="norm 5, above clip_norm = 1.*clip_rows"):
        private_sum(np.array([[3.0, 4.0]]), 1.0, 1.0, RNG)
    with pytest.raises(ValueError, match="clip_rows"):
        private_sum(np.array([[np.nan, 4.0]]), 1.0, 1.0, RNG)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2\)"):
        clip_rows(np.zeros((2, 2, 2)), 1.0)
    with pytest.raises(ValueError, match="'norm'"):
        clip_rows(np.zeros((2, 2)), 0.0)


@pytest.mark.parametrize("quantile", [0.5, 0.8])
def test_the_norm_comes_to_the_quantile(quantile):
    rng = np.random.default_rng(2)
    clip = AdaptiveClip(quantile=quantile)
    path = []
    for _ in range(200):
        norms = rng.lognormal(1.0, 0.5, 100)
        clip = adapted(clip, norms > clip.norm, 100, rng)
        path.append(clip.norm)
    wanted = np.quantile(np.random.default_rng(3).lognormal(1.0, 0.5, 100000), quantile)
    assert np.mean(path[-50:]) == pytest.approx(wanted, rel=0.1)
    assert path[0] == pytest.approx(0.1 * math.exp(0.2 * quantile), rel=0.05)


def test_one_step_of_the_paper():
    clip = AdaptiveClip(norm=2.0, count_noise=0.0)
    after = adapted(clip, np.array([True, True, True, False]), 4, RNG)
    assert after.norm == pytest.approx(2.0 * math.exp(-0.2 * (0.25 - 0.5)))


def test_sum_and_count_spend_together_what_one_sum_spends():
    split = split_noise(1.0, 100)
    # sigma_b = 100 / 20 = 5: (1 - 1 / 100)^-1/2
    assert split == pytest.approx((1 - 0.01) ** -0.5)
    with pytest.raises(ValueError, match="more than 20 rows.*noise multiplier 2.00; it has 20"):
        split_noise(2.0, 20)
