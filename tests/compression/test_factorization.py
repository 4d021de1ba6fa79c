"""Products of thin kernels: exact at full rank, optimal below, smaller always."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from autokit import KerasClassifier, layers
from autokit._backend import keras
from autokit.compression import Factorize, factorize
from autokit.compression.factorization import _factors, low_rank, rank_of_energy


def test_full_rank_is_the_identity_and_less_is_optimal():
    matrix = np.random.default_rng(0).normal(size=(7, 5))
    left, right = low_rank(matrix, 5)
    np.testing.assert_allclose(left @ right, matrix, atol=1e-12)
    left, right = low_rank(matrix, 3)
    s = np.linalg.svd(matrix, compute_uv=False)
    # Eckart & Young: the error is the norm of the singular values left out
    assert np.linalg.norm(left @ right - matrix) == pytest.approx(np.linalg.norm(s[3:]))


def test_rank_of_energy():
    matrix = np.diag([3.0, 2.0, 1.0, 0.0])
    assert [rank_of_energy(matrix, e) for e in (0.5, 9 / 14, 0.7, 13 / 14, 1.0)] == [1, 1, 2, 2, 3]
    assert rank_of_energy(np.zeros((3, 3)), 0.9) == 1


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Dense(6, activation="relu"),
        keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
        keras.layers.Conv2D(6, (3, 2), dilation_rate=(2, 1), use_bias=False),
        keras.layers.Conv1D(6, 3, padding="causal"),
    ],
)
def test_a_layer_at_full_rank_answers_the_same(layer):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, *((8,) * (len(getattr(layer, "kernel_size", ())))), 5))
    rows = rows.astype("float32")
    layer.build(rows.shape)
    for v in layer.variables:
        v.assign(rng.normal(size=v.shape))
    got = rows
    for part, weights in _factors(layer, 6 if rows.ndim > 2 else 5):
        part.build(got.shape)
        part.set_weights(weights)
        got = part(got)
    np.testing.assert_allclose(got, layer(rows), atol=1e-4)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X.reshape(-1, 8, 8) / 16, y


@pytest.fixture(scope="module")
def classifier(digits):
    return KerasClassifier(epochs=5, random_state=0).fit(*digits)


def test_a_network_becomes_smaller_and_is_tuned(digits, classifier):
    before = classifier.model_.count_params()
    small = factorize(classifier, *digits, energy=0.8, epochs=3)
    report = small.compression_report_
    assert small.model_.count_params() == report.n_weights_after < 0.9 * before
    assert classifier.model_.count_params() == before
    assert report.score_after > report.details["score_before_tuning"]
    assert report.score_after > 0.9
    small.partial_fit(*digits)


def test_layers_that_would_not_shrink_stay(digits, classifier):
    same = factorize(classifier, *digits, rank=10_000, epochs=0)
    assert same.compression_report_.details["ranks"] == {}
    np.testing.assert_allclose(
        same.predict_proba(digits[0]), classifier.predict_proba(digits[0]), atol=1e-6
    )


def test_as_a_training_option(digits):
    estimator = KerasClassifier(
        lambda shape, n: layers.mlp(shape, n, output_activation="softmax", widths=(64, 64)),
        epochs=3,
        random_state=0,
        compression=Factorize(rank=4, epochs=2),
    )
    plain = KerasClassifier(estimator.model, epochs=1, random_state=0).fit(*digits)
    estimator.fit(*digits)
    assert estimator.model_.count_params() < plain.model_.count_params()
    assert estimator.get_params()["compression__rank"] == 4


def test_bad_input(digits, classifier):
    with pytest.raises(ValueError, match="'rank' parameter of Factorize must be None or an int"):
        factorize(classifier, *digits, rank=0)
    with pytest.raises(ValueError, match="'energy' parameter of Factorize"):
        factorize(classifier, *digits, energy=1.5)
