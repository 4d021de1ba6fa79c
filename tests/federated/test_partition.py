"""Who has which rows: counts, skew, seeds and what cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from autokit.federated import (
    partition_by_labels,
    partition_by_quantity,
    partition_dirichlet,
    partition_iid,
)

Y = np.random.default_rng(0).integers(0, 10, 3000)
ALL = (partition_iid, partition_by_labels, partition_dirichlet, partition_by_quantity)


def counts_of(y, client_ids):
    """Rows of each label, (n_clients, n_labels)."""
    table = np.zeros((client_ids.max() + 1, 10), int)
    np.add.at(table, (client_ids, y), 1)
    return table


@pytest.mark.parametrize("partition", ALL)
def test_every_row_has_a_client_and_every_client_a_row(partition):
    for n_clients in (1, 7, 100):
        client_ids = partition(Y, n_clients, random_state=0)
        assert client_ids.shape == Y.shape
        assert client_ids.dtype.kind == "i"
        assert set(client_ids.tolist()) == set(range(n_clients))


@pytest.mark.parametrize("partition", ALL)
def test_the_seed_decides(partition):
    first, again, other = (partition(Y, 10, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    state = np.random.RandomState(0)
    np.testing.assert_array_equal(partition(Y, 10, random_state=state), first)


@pytest.mark.parametrize("partition", ALL)
def test_labels_may_be_texts(partition):
    names = np.array(list("abcdefghij"))[Y]
    found = partition(names.tolist(), 10, random_state=0)
    np.testing.assert_array_equal(found, partition(Y, 10, random_state=0))


def test_iid_clients_are_alike():
    sizes = np.bincount(partition_iid(103, 10, random_state=0))
    assert sorted(sizes) == [10] * 7 + [11] * 3
    table = counts_of(Y, partition_iid(Y, 10, random_state=0))
    assert table.min() > 10
    np.testing.assert_array_equal(
        partition_iid(len(Y), 10, random_state=0), partition_iid(Y, 10, random_state=0)
    )
    assert partition_iid(np.zeros((20, 2)), 3, random_state=0).shape == (20,)


def test_shards_are_few_labels_of_each_client():
    y = np.repeat(np.arange(10), 600)  # 200 shards of 30, none across a border
    client_ids = partition_by_labels(y, 100, random_state=0)
    table = counts_of(y, client_ids)
    assert (table.sum(axis=1) == 60).all()
    assert set((table > 0).sum(axis=1)) <= {1, 2}
    assert set(table.ravel()) <= {0, 30, 60}
    one = counts_of(y, partition_by_labels(y, 10, shards_per_client=1, random_state=0))
    assert ((one > 0).sum(axis=1) == 1).all()
    # rows of a label do not keep their order
    owner = client_ids[:600]
    assert (np.diff(owner) != 0).sum() > 300


def test_shards_of_unequal_size_differ_by_one():
    sizes = np.bincount(partition_by_labels(Y[:1007], 10, random_state=0))
    assert sizes.sum() == 1007
    assert sizes.max() - sizes.min() <= 2


def test_dirichlet_is_as_skewed_as_alpha_says():
    tables = [
        counts_of(Y, partition_dirichlet(Y, 10, alpha=alpha, random_state=0))
        for alpha in (0.1, 1.0, 1000.0)
    ]
    skews = [(table.max(axis=1) / table.sum(axis=1)).mean() for table in tables]
    assert skews[0] > skews[1] > skews[2]
    assert skews[0] > 0.4
    assert abs(skews[2] - 0.1) < 0.05
    for table in tables:
        np.testing.assert_array_equal(table.sum(axis=0), np.bincount(Y))


def test_dirichlet_proportions_have_their_mean_and_variance():
    y = np.zeros(1000, int)
    shares = np.stack(
        [
            np.bincount(
                partition_dirichlet(y, 4, alpha=2.0, min_rows=0, random_state=i), minlength=4
            )
            for i in range(300)
        ]
    ) / len(y)
    np.testing.assert_allclose(shares.mean(axis=0), 0.25, atol=0.03)
    # of a Dirichlet(a, ..., a): (1/n) (1 - 1/n) / (n a + 1)
    np.testing.assert_allclose(shares.var(axis=0), 0.25 * 0.75 / 9, rtol=0.25)


def test_quantities_differ_and_labels_do_not():
    client_ids = partition_by_quantity(Y, 5, alpha=0.5, min_rows=200, random_state=0)
    sizes = np.bincount(client_ids)
    assert sizes.min() >= 200
    assert sizes.max() > 2 * sizes.min()
    table = counts_of(Y, client_ids)
    shares = table / table.sum(axis=1, keepdims=True)
    assert np.abs(shares - 0.1).max() < 0.08
    np.testing.assert_array_equal(
        client_ids, partition_by_quantity(len(Y), 5, alpha=0.5, min_rows=200, random_state=0)
    )
    alike = np.bincount(partition_by_quantity(Y, 5, alpha=1e5, random_state=0))
    assert np.ptp(alike) < 60


@pytest.mark.parametrize("partition", [partition_dirichlet, partition_by_quantity])
def test_a_least_number_of_rows_is_kept(partition):
    sizes = np.bincount(partition(Y, 20, alpha=0.5, min_rows=15, random_state=0))
    assert sizes.min() >= 15
    alone = np.bincount(partition_by_quantity(Y, 20, alpha=1e-3, min_rows=7, random_state=0))
    assert sorted(alone)[:19] == [7] * 19
    free = np.bincount(partition(Y, 20, alpha=0.01, min_rows=0, random_state=0), minlength=20)
    assert free.min() == 0
    tiny = partition(Y, 3, alpha=1e-9, min_rows=0, random_state=0)
    assert len(tiny) == len(Y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: partition_iid(3, 4),
            "3 rows are too few for n_clients=4 of 1 or more each; lower",
        ),
        (lambda: partition_iid(Y, 0), r"'n_clients' parameter must be an int in .* Got 0 instead"),
        (lambda: partition_iid(Y, 2.0), r"'n_clients' parameter must be an int .* Got 2.0"),
        (lambda: partition_iid(Y, True), "'n_clients' parameter must be an int .* Got True"),
        (
            lambda: partition_by_labels(Y[:30], 16),
            r"y has 30 rows, but n_clients \* shards_per_client = 32 shards",
        ),
        (lambda: partition_by_labels(Y, 4, shards_per_client=0), "'shards_per_client' parameter"),
        (lambda: partition_by_labels(Y[:, None], 4), r"y must be of shape .* got \(3000, 1\)"),
        (lambda: partition_by_labels([1.0, np.nan], 1), "y has NaN; label every row"),
        (lambda: partition_dirichlet(["a", 1, None], 1), "all texts or all numbers; got a mixture"),
        (lambda: partition_dirichlet(3, 1), r"y must be of shape .* got \(\)"),
        (lambda: partition_dirichlet(Y, 4, alpha=0), "'alpha' parameter .* Got 0 instead"),
        (lambda: partition_dirichlet(Y, 4, alpha=np.inf), "'alpha' parameter must be a float"),
        (lambda: partition_dirichlet(Y, 4, min_rows=-1), "'min_rows' parameter"),
        (
            lambda: partition_dirichlet(Y, 10, min_rows=301),
            "3000 rows are too few for n_clients=10 of 301 or more each; lower n_clients or min",
        ),
        (
            lambda: partition_dirichlet(Y, 100, alpha=0.01, min_rows=20),
            r"In 1000 draws .* min_rows=20 rows; raise alpha \(it is 0.01\)",
        ),
        (lambda: partition_by_quantity(Y, 10, alpha="1"), "'alpha' parameter .* Got '1'"),
        (lambda: partition_by_quantity(Y, 10, min_rows=301), "lower n_clients or min_rows"),
        (lambda: partition_by_quantity(0, 1, min_rows=0), "0 rows are too few"),
    ],
)
def test_what_cannot_be_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()
