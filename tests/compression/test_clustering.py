"""Clustering: as many values as asked, near the weights, and for good."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

import autokit
from autokit import KerasClassifier
from autokit._backend import keras
from autokit.compression import Cluster, cluster, prune
from autokit.compression.clustering import cluster_values
from autokit.compression.tfmot import INITIALIZATIONS


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
@pytest.mark.parametrize("n_clusters", [2, 16, 64])
def test_values_are_exactly_so_many_and_nearly_optimal(initialization, n_clusters):
    values = np.random.default_rng(0).normal(size=(40, 30)).astype("float32")
    shared = cluster_values(values, n_clusters, initialization)
    assert shared.shape == values.shape and shared.dtype == values.dtype
    assert len(np.unique(shared)) == n_clusters
    best = KMeans(n_clusters, n_init=3, random_state=0).fit(values.reshape(-1, 1)).inertia_
    assert np.square(shared - values).sum() < 1.6 * best


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_zeros_are_one_of_the_values_and_no_others_join_them(initialization):
    values = np.random.default_rng(0).normal(size=1000).astype("float32")
    values[:800] = 0
    shared = cluster_values(values, 8, initialization)
    np.testing.assert_array_equal(shared == 0, values == 0)
    assert len(np.unique(shared)) == 8


def test_few_values_stay_as_they_are():
    values = np.repeat(np.float32([0, 1, 5]), 10)
    np.testing.assert_array_equal(cluster_values(values, 3, "linear"), values)
    # one sign only, all but one far away: no centroid may stay empty
    lopsided = np.append(np.linspace(1, 1.001, 50), 900).astype("float32")
    assert len(np.unique(cluster_values(lopsided, 10, "linear"))) == 10


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def dense(digits):
    network = autokit.layers.mlp((64,), 10, widths=(32,))
    return KerasClassifier(network, epochs=8, learning_rate=0.01, random_state=0).fit(*digits)


def kernel_of(estimator):
    return estimator.model_.layers[1].kernel.numpy()


def test_an_estimator_keeps_its_clusters(digits, dense, tmp_path):
    X, y = digits
    before = kernel_of(dense).copy()
    small = cluster(dense, X, y, n_clusters=8, epochs=3)
    np.testing.assert_array_equal(kernel_of(dense), before)
    assert len(np.unique(kernel_of(small))) == 8
    report = small.compression_report_
    assert (
        report.details["n_clusters"] == {"dense/kernel": 8}
        or 8 in report.details["n_clusters"].values()
    )
    assert report.zipped_bytes_after < 0.5 * report.zipped_bytes_before
    assert small.score(X, y) > dense.score(X, y) - 0.02
    autokit.save(small, tmp_path / "small.autokit")
    loaded = autokit.load(tmp_path / "small.autokit")
    former = kernel_of(loaded).copy()
    loaded.partial_fit(X, y)
    assert len(np.unique(kernel_of(loaded))) == 8
    assert (kernel_of(loaded) != former).mean() > 0.5
    _, first = np.unique(former, return_inverse=True)
    _, second = np.unique(kernel_of(loaded), return_inverse=True)
    np.testing.assert_array_equal(first, second)


def test_a_pruned_network_keeps_its_zeros_as_one_value(digits, dense):
    sparse = prune(dense, *digits, sparsity=0.8, epochs=2)
    small = cluster(sparse, *digits, n_clusters=4, epochs=2)
    np.testing.assert_array_equal(kernel_of(small) == 0, kernel_of(sparse) == 0)
    assert len(np.unique(kernel_of(small))) == 4
    small.partial_fit(*digits)
    np.testing.assert_array_equal(kernel_of(small) == 0, kernel_of(sparse) == 0)
    assert len(np.unique(kernel_of(small))) == 4
    assert [r.method for r in small.compression_report_.path] == ["Prune"]
    assert (
        small.compression_report_.zipped_bytes_after < sparse.compression_report_.zipped_bytes_after
    )


def test_as_a_training_option_and_for_a_keras_model(digits):
    X, y = digits
    network = autokit.layers.mlp((64,), 10, widths=(16,))
    model = KerasClassifier(network, epochs=2, compression=Cluster(n_clusters=5, epochs=1))
    assert len(np.unique(kernel_of(model.fit(X, y)))) == 5
    plain = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(64, 3), keras.layers.Flatten(),
         keras.layers.Dense(10, "softmax")]
    )  # fmt: skip
    small = cluster(plain, X.reshape(-1, 8, 8, 1), y, n_clusters=16, epochs=1)
    kernel = small.layers[0].kernel
    assert len(np.unique(kernel.numpy())) == 16
    small.compile("adam", "sparse_categorical_crossentropy")
    small.fit(X.reshape(-1, 8, 8, 1)[:64], y[:64], verbose=0)
    assert len(np.unique(kernel.numpy())) == 16


def test_bad_parameters_are_named(digits, dense):
    with pytest.raises(ValueError, match="The 'n_clusters' parameter of Cluster must be"):
        cluster(dense, *digits, n_clusters=1)
    with pytest.raises(ValueError, match="The 'initialization' parameter of Cluster must be"):
        cluster(dense, *digits, initialization="random")
    with pytest.raises(ValueError, match="layers chose no layer"):
        cluster(dense, *digits, layers=lambda layer: False)
