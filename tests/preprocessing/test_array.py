from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from autokit.preprocessing import ArrayEncoder, TableEncoder, make_encoder


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "n_channels"),
    [
        ((20, 8, 8), np.float32, "image", 1),
        ((20, 8, 6), np.uint8, "image", 1),
        ((20, 8, 6), np.float64, "sequence", 6),
        ((20, 8, 6, 3), np.float16, "image", 3),
        ((5, 4, 8, 6, 3), np.float32, "array", 3),
    ],
)
def test_kinds_and_moments(shape, dtype, kind, n_channels):
    X = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    encoder = ArrayEncoder().fit(X)
    assert encoder.kind_ == kind
    assert encoder.encoded_shape_ == shape[1:]
    flat = X.reshape(-1, n_channels).astype(np.float64)
    np.testing.assert_allclose(encoder.mean_, flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(encoder.scale_, flat.std(axis=0), rtol=1e-12)
    encoded = encoder.encode(X)
    assert encoded.dtype == np.float32
    expected = ((flat - flat.mean(axis=0)) / flat.std(axis=0)).reshape(shape)
    np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-6)


def test_without_standardize_values_pass():
    X = np.random.default_rng(0).random((5, 4, 4), np.float32)
    np.testing.assert_array_equal(ArrayEncoder(standardize=False).fit(X).encode(X), X)


def test_a_large_offset_keeps_its_precision():
    steps = np.random.default_rng(0).normal(1.7e9, 10, (30, 5, 2))
    encoded = ArrayEncoder().fit(steps).encode(steps)
    assert np.abs(encoded.std(axis=(0, 1)) - 1).max() < 1e-5


def test_make_encoder():
    assert isinstance(make_encoder(np.zeros((3, 4))), TableEncoder)
    assert isinstance(make_encoder([[1, 2]]), TableEncoder)
    encoder = make_encoder(np.zeros((3, 4, 4)), standardize=False)
    assert isinstance(encoder, ArrayEncoder)
    assert encoder.standardize is False
    with pytest.raises(ValueError, match="Reshape your data"):
        make_encoder(np.zeros(3))
    with pytest.raises(TypeError, match="Sparse data"):
        make_encoder(sparse.eye_array(3).tocsr())


def broken(value):
    X = np.ones((4, 3, 3), np.float32)
    X[2, 1, 0] = value
    return X


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((4, 3)), r"X must be of rank 3 or more.*got shape \(4, 3\)"),
        (broken(np.nan), r"Input X contains NaN: nan in row 2 of an array, at \(1, 0\); fill"),
        (broken(np.inf), r"Input X contains infinity.*inf in row 2 of an array, at \(1, 0\)"),
        (np.full((2, 3, 3), "a"), r"X of rank 3 must hold numbers where it holds texts"),
        (np.zeros((0, 3, 3)), r"0 sample\(s\) \(shape=\(0, 3, 3\)\)"),
        (np.zeros((2, 3, 3), complex), "Complex data not supported"),
        ([[[1], [2]], [[3]]], "X has ragged rows"),
    ],
)
def test_bad_X_at_fit(X, message):
    with pytest.raises(ValueError, match=message) as raised:
        ArrayEncoder().fit(X)
    assert "\n" not in str(raised.value)


def test_bad_X_at_predict():
    encoder = ArrayEncoder().fit(np.random.default_rng(0).random((4, 3, 3)))
    with pytest.raises(ValueError, match=r"rows of shape \(3, 4\), but NAS is expecting.*\(3, 3\)"):
        encoder.encode(np.zeros((2, 3, 4)), "NAS")
    with pytest.raises(ValueError, match=r"got \(3, 3\)\. Reshape your data.*X\[None\]"):
        encoder.encode(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        encoder.raw_tensors(broken(np.nan))
