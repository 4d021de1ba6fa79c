"""Names of clients, and rows by client."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autokit import FederatedTrainer
from autokit.federated.arguments import checked_ids, concatenated, grouped
from autokit.testing.federations import blobs, dense_network

X, Y, IDS = blobs()


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (np.array([1, 2.0, np.int64(1)], object), [1, 2]),
        ([1, np.int64(2), True], [1, 2]),
        ([1.0, 2.0, 2.0], [1, 2]),
        (["b", "a", "a"], ["a", "b"]),
        (np.array(["b", "a", "a"]), ["a", "b"]),
        (pd.Series([2, 1, 1], dtype="Int64"), [1, 2]),
    ],
)
def test_names_of_clients(given, names):
    assert np.unique(checked_ids(given, X[:3], Y[:3])).tolist() == names


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1, "a", 1], "client_ids must be all texts or all numbers; got a mixture"),
        (np.array([1, "a", 1], object), "client_ids must be all texts or all numbers; got a mix"),
        ([0.5, 0.1, 3.0], "client_ids .* not whole, such as 0.5; .* sample_weight="),
        (["a", float("nan"), "b"], "client_ids has missing values"),
    ],
)
def test_what_is_no_name(given, message):
    with pytest.raises(ValueError, match=message):
        checked_ids(given, X[:3], Y[:3])


def test_weights_are_numbers_and_named():
    trainer = FederatedTrainer(dense_network, n_rounds=1)
    for ids in (None, IDS):
        with pytest.raises(ValueError, match="sample_weight must hold numbers.*'a'"):
            trainer.fit(X, Y, client_ids=ids, sample_weight=["a"] * 150)
    for method in (trainer.fit, trainer.partial_fit):
        with pytest.raises(TypeError, match="positional"):
            method(X, Y, IDS, np.ones(150))
    with pytest.raises(ValueError, match="sample_weight="):
        trainer.fit(X, Y, np.linspace(0.1, 1, 150))


def test_rows_are_grouped_in_their_order():
    found = dict(grouped(X, Y.tolist(), IDS))
    assert list(found) == np.unique(IDS).tolist()
    for k, (rows, y) in found.items():
        np.testing.assert_array_equal(rows, X[k == IDS])
        np.testing.assert_array_equal(y, Y[k == IDS])


def test_tables_are_joined_by_position():
    frames = [pd.DataFrame(X[:2]), pd.DataFrame(X[2:4], columns=[5, 6, 7, 8])]
    joined = concatenated(frames)
    assert isinstance(joined, pd.DataFrame)
    np.testing.assert_array_equal(joined, X[:4])
    np.testing.assert_array_equal(concatenated([frames[0], X[2:4]]), X[:4])
