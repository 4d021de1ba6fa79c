from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import DataConversionWarning

from autokit.preprocessing import ClassLabels, RegressionTarget, check_lengths


@pytest.mark.parametrize(
    "y",
    [
        [3, 1, 3, 2],
        ["b", "a", "b"],
        np.array([True, False]),
        np.array([1.0, 0.0]),
        pd.Series(["b", "a"], dtype="category"),
        pd.Series(["b", "a"]),
        np.array([2, 1], dtype=object),
    ],
)
def test_labels_round_trip(y):
    labels = ClassLabels().fit(y)
    assert labels.classes_.tolist() == sorted(set(np.asarray(y).tolist()))
    codes = labels.encode(y)
    assert codes.dtype == np.int32
    assert labels.decode(codes).tolist() == np.asarray(y).tolist()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed, but the target y is None"),
        ([1, 1, 1], r"y has one class, 1, but KerasClassifier needs at least two"),
        ([0.5, 1.2], "Unknown label type: continuous"),
        (
            [0.0, np.nan, 1.0],
            r"Input y contains NaN. 1 of 3 targets are missing, the first in row 1",
        ),
        (["a", None], "Input y contains NaN"),
        (["a", np.nan], "Input y contains NaN"),
        ([0.0, np.inf], "Input y contains infinity"),
        (["a", 1], "y mixes labels of types int, str"),
        ([[0, 1], [1, 0]], "y should be a 1d array"),
        ([[0, 1], [1]], "y has ragged rows"),
        ([], "y is empty"),
        (3, "y should be a 1d array"),
        ([1j, 0], "Complex data not supported: y"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises(ValueError, match=message):
        ClassLabels().fit(y, "KerasClassifier")


def test_unseen_label():
    with pytest.raises(ValueError, match=r"labels that were not in fit, such as 'c'.*\['a', 'b'\]"):
        ClassLabels().fit(["a", "b"]).encode(["a", "c"])


def test_column_vector_warns():
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        ClassLabels().fit([[0], [1]])


@pytest.mark.parametrize("shape", [(50,), (50, 1), (50, 3)])
def test_numbers_round_trip(shape):
    y = np.random.default_rng(0).normal(2e6, 5, shape)
    target = RegressionTarget().fit(y)
    encoded = target.encode(y)
    assert encoded.dtype == np.float32
    assert encoded.shape == (50, target.n_outputs_)
    assert np.abs(encoded.mean(axis=0)).max() < 1e-6
    assert target.decode(encoded).shape == shape
    np.testing.assert_allclose(target.decode(encoded), y, rtol=1e-12)


def test_without_standardize_numbers_pass():
    target = RegressionTarget(standardize=False).fit([[1.0], [2.0]])
    assert target.encode([[1.5]]).tolist() == [[1.5]]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed"),
        (["a", "b"], "y must hold numbers for a regression, got 'a'"),
        ([1.0, np.nan], r"Input y contains NaN. 1 of 2 targets are missing, the first in row 1"),
        ([1.0, -np.inf], r"Input y contains infinity.*in row 1"),
        ([1e39, 1.0], "too large for dtype"),
        (np.zeros((2, 2, 2)), r"y must be of shape \(n_samples,\).*got \(2, 2, 2\)"),
        ([[1.0, 2.0], [3.0]], "y has ragged rows"),
        (np.array([1j]), "Complex data not supported"),
    ],
)
def test_bad_numbers(y, message):
    with pytest.raises(ValueError, match=message):
        RegressionTarget().fit(y, "KerasRegressor")


def test_other_number_of_outputs():
    with pytest.raises(ValueError, match="y has 2 outputs, but KerasRegressor was fitted with 1"):
        RegressionTarget().fit([1.0, 2.0]).encode([[1.0, 2.0]], "KerasRegressor")


def test_lengths():
    check_lengths(np.zeros((3, 2)), [1, 2, 3], np.ones(3))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: X has 3, y has 2"):
        check_lengths(np.zeros((3, 2)), [1, 2])
    with pytest.raises(ValueError, match=r"sample_weight has 2"):
        check_lengths(np.zeros((3, 2)), [1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="y must be an array with one entry for each row, got 3"):
        check_lengths(np.zeros((3, 2)), 3)
