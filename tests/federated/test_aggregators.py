"""Every aggregator keeps the contract, and equals its closed form."""

from __future__ import annotations

import numpy as np
import pytest

from autokit.federated import (
    AGGREGATORS,
    FederatedTrainer,
    Krum,
    Mean,
    Median,
    MultiKrum,
    NormClipping,
    TrimmedMean,
)
from autokit.testing.federated import (
    AggregatorContract,
)
from autokit.testing.federations import (
    blobs,
    dense_network,
)

CASES = {
    **AGGREGATORS,
    "norm 1000": lambda: NormClipping(norm=1000.0),
    "clipped median": lambda: NormClipping(norm=1000.0, inner=Median()),
    "median norm, trimmed": lambda: NormClipping(inner=TrimmedMean(0.2)),
}


@pytest.fixture(scope="class", params=CASES)
def _name(request):
    request.cls.name = request.param


@pytest.mark.usefixtures("_name")
class TestEveryAggregator(AggregatorContract):
    name: str

    @property
    def holds(self):
        return self.name not in ("mean", "norm 1000")

    @property
    def counts_rows(self):
        return self.name in ("mean", "norm_clipping", "norm 1000")

    def make_aggregator(self):
        return CASES[self.name]()


ONES = np.ones(5)
# of the plane: three honest ones in a corner, one beside them, one far away
PLANE = np.array([[0, 0], [0, 1], [1, 0], [2, 2], [50, -50]], np.float32)


def test_the_mean_is_weighted_by_rows():
    found = Mean().combine(PLANE[:3], np.array([1.0, 1.0, 2.0]))
    np.testing.assert_allclose(found, [0.5, 0.25])


def test_the_median_is_of_each_coordinate():
    updates = np.array([[1, 10], [2, -5], [300, 0]], np.float32)
    np.testing.assert_array_equal(Median().combine(updates, ONES[:3]), [2, 0])
    even = np.array([[1.0], [2.0], [4.0], [-90.0]], np.float32)
    np.testing.assert_array_equal(Median().combine(even, ONES[:4]), [1.5])


def test_the_trimmed_mean_cuts_at_both_ends():
    updates = np.array([[5], [1], [-100], [2], [3], [100], [4], [6], [7], [0]], np.float32)
    for share, expected in ((0.0, 2.8), (0.1, 3.5), (0.3, 3.5), (0.4, 3.5), (0.09, 2.8)):
        np.testing.assert_allclose(TrimmedMean(share).combine(updates, np.ones(10)), [expected])
    # 0.3 of 10 are 3, though 0.3 * 10 is less in floating point
    skewed = np.array([[0], [0], [0], [1], [1], [1], [8], [9], [9], [9]], np.float32)
    np.testing.assert_allclose(TrimmedMean(0.3).combine(skewed, np.ones(10)), [11 / 4])


def test_krum_takes_the_update_next_to_most_others():
    scores = Krum(n_byzantine=1).scores(PLANE)
    # n - f - 2 = 2 nearest others of each
    far = (50**2 + 50**2) + (49**2 + 50**2)
    np.testing.assert_allclose(scores, [1 + 1, 1 + 2, 1 + 2, 5 + 5, far])
    np.testing.assert_array_equal(Krum(n_byzantine=1).combine(PLANE, ONES), [0, 0])
    np.testing.assert_array_equal(Krum().combine(PLANE[::-1], ONES), [0, 0])


def test_multi_krum_averages_the_best():
    for chosen, expected in ((1, [0, 0]), (3, [1 / 3, 1 / 3]), (4, [0.75, 0.75])):
        found = MultiKrum(n_byzantine=1, n_chosen=chosen).combine(PLANE, ONES)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    # without a number, all but the hostile one
    found = MultiKrum(n_byzantine=1).combine(PLANE, ONES)
    np.testing.assert_allclose(found, [0.75, 0.75])
    many = MultiKrum(n_byzantine=0, n_chosen=99).combine(PLANE, ONES)
    np.testing.assert_allclose(many, PLANE.mean(axis=0))


def test_krum_says_how_many_clients_it_needs():
    with pytest.raises(
        ValueError, match="2 hostile clients need at least 7 updates .* got 5; raise"
    ):
        Krum(n_byzantine=2).combine(PLANE, ONES)
    # a share is of those that are left
    np.testing.assert_array_equal(Krum(n_byzantine=0.4).combine(PLANE, ONES), [0, 0])
    assert Krum(n_byzantine=0.4).combine(PLANE[:1], ONES[:1]).tolist() == [0, 0]
    assert Krum(n_byzantine=0.4).combine(PLANE[:2], ONES[:2]).tolist() in ([0, 0], [0, 1])


def test_krum_is_exact_where_updates_are_long_and_near():
    rng = np.random.default_rng(0)
    updates = (1e4 + rng.normal(size=(8, 50))).astype(np.float32)
    apart = ((updates[:, None].astype(float) - updates[None]) ** 2).sum(axis=2)
    expected = np.sort(apart, axis=1)[:, 1:5].sum(axis=1)
    np.testing.assert_allclose(Krum(n_byzantine=2).scores(updates), expected, rtol=1e-4)


def test_norm_clipping_shortens_what_is_too_long():
    updates = np.array([[3, 4], [0.3, 0.4], [0, 0]], np.float32)
    shortened = NormClipping(norm=1.0).limited(updates)
    np.testing.assert_allclose(shortened, [[0.6, 0.8], [0.3, 0.4], [0, 0]], rtol=1e-6)
    found = NormClipping(norm=1.0).combine(shortened, np.array([1.0, 1.0, 2.0]))
    np.testing.assert_allclose(found, [0.225, 0.3], rtol=1e-6)
    # the median norm is 0.5
    found = NormClipping().combine(updates, ONES[:3])
    np.testing.assert_allclose(found, [0.2, 0.8 / 3], rtol=1e-6)
    inner = NormClipping(norm=1.0, inner=Median())
    np.testing.assert_allclose(inner.combine(inner.limited(updates), ONES[:3]), [0.3, 0.4])
    assert NormClipping(norm=1.0).is_mean
    assert not NormClipping().is_mean
    assert not inner.is_mean


class Ducklike:
    """Has the methods, and nothing else."""

    def limited(self, updates):
        return updates

    def combine(self, updates, weights):
        return updates.mean(axis=0)


@pytest.mark.parametrize(
    ("aggregator", "message"),
    [
        ("average", "'aggregator' parameter of FederatedTrainer must be .* Got 'average'"),
        (TrimmedMean(0.5), r"'share' parameter of TrimmedMean must be a float in .*\[0.0, 0.5\)"),
        (Krum(0.5), "'n_byzantine' parameter of Krum"),
        (Krum(-1), "'n_byzantine' parameter of Krum"),
        (MultiKrum(n_chosen=0), "'n_chosen' parameter of MultiKrum"),
        (NormClipping(norm=0.0), "'norm' parameter of NormClipping"),
        (NormClipping(norm="mean"), "'norm' parameter of NormClipping .* Got 'mean'"),
        (NormClipping(inner="median"), "'inner' parameter of NormClipping"),
        (NormClipping(inner=TrimmedMean(-1)), "'share' parameter of TrimmedMean"),
        (NormClipping(inner=Median), r"'inner' parameter is the class Median; .* Median\(\)"),
        (NormClipping(inner=Ducklike()), "'inner' parameter must be an instance of .*Aggregator"),
        (Ducklike(), "'aggregator' parameter must be an instance of .*Aggregator; got Ducklike"),
        (Median, r"'aggregator' parameter is the class Median; give an instance of it, Median\(\)"),
    ],
)
def test_a_wrong_setting_is_named(aggregator, message):
    X, y, client_ids = blobs(30)
    trainer = FederatedTrainer(dense_network, aggregator=aggregator, n_rounds=1)
    with pytest.raises(ValueError, match=message):
        trainer.fit(X, y, client_ids=client_ids)
