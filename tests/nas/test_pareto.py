from __future__ import annotations

import itertools

import numpy as np
import pytest

from autokit.nas.pareto import crowding_distance, fronts, hypervolume, non_dominated


def _brute_front(values):
    return [
        not any((b >= a).all() and (b > a).any() for b in values)
        for a in values
    ]  # fmt: skip


def _brute_volume(values, reference):
    """By inclusion and exclusion over all subsets of boxes."""
    total = 0.0
    for size in range(1, len(values) + 1):
        for subset in itertools.combinations(values, size):
            sides = np.maximum(np.min(subset, axis=0) - reference, 0.0)
            total += (-1) ** (size + 1) * sides.prod()
    return total


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_against_brute_force(n_objectives, seed):
    rng = np.random.default_rng(seed)
    continuous = rng.normal(size=(9, n_objectives))
    with_ties = rng.integers(0, 4, size=(9, n_objectives)).astype(float)
    for values in (continuous, with_ties):
        assert non_dominated(values).tolist() == _brute_front(values)
        reference = np.full(n_objectives, 0.5)
        assert hypervolume(values, reference) == pytest.approx(_brute_volume(values, reference))


@pytest.mark.parametrize("n_objectives", [2, 3])
def test_fronts_are_what_peeling_gives(n_objectives):
    values = np.random.default_rng(0).integers(0, 6, size=(60, n_objectives)).astype(float)
    expected, left = np.full(60, -1), np.arange(60)
    for layer in range(60):
        best = non_dominated(values[left])
        expected[left[best]] = layer
        left = left[~best]
        if not len(left):
            break
    np.testing.assert_array_equal(fronts(values), expected)


def test_volume_by_sampling():
    rng = np.random.default_rng(0)
    values, draws = rng.random((30, 3)), rng.random((40_000, 3))
    inside = (values[None] >= draws[:, None]).all(axis=2).any(axis=1).mean()
    assert hypervolume(values, (0, 0, 0)) == pytest.approx(inside, abs=0.01)


def test_volume_ignores_what_is_dominated_and_what_is_behind_the_reference():
    front = [[3.0, 1.0], [1.0, 3.0]]
    volume = hypervolume(front, (0, 0))
    assert volume == 5.0
    assert hypervolume([*front, [1.0, 1.0], [9.0, -1.0], [3.0, 1.0]], (0, 0)) == volume
    assert hypervolume([[-1.0, 5.0]], (0, 0)) == 0.0


def test_crowding_of_a_front():
    values = [[0.0, 10.0], [1.0, 9.0], [4.0, 4.0], [10.0, 0.0]]
    distance = crowding_distance(values)
    assert np.isinf(distance[[0, 3]]).all()
    # (4 - 0) / 10 + (10 - 4) / 10, and (10 - 1) / 10 + (9 - 0) / 10
    np.testing.assert_allclose(distance[1:3], [1.0, 1.8])


def test_nothing_has_no_front_and_no_volume():
    empty = np.empty((0, 2))
    assert non_dominated(empty).shape == fronts(empty).shape == crowding_distance(empty).shape
    assert hypervolume(empty, (0, 0)) == 0.0


@pytest.mark.parametrize(
    "values, match",
    [([1.0, 2.0], r"\(n_points, n_objectives\)"), ([[np.nan, 1.0]], "must not hold NaN")],
)
def test_bad_values(values, match):
    with pytest.raises(ValueError, match=match):
        non_dominated(values)


def test_bad_reference():
    with pytest.raises(ValueError, match="each of the 2 objectives"):
        hypervolume([[1.0, 2.0]], (0, 0, 0))
