"""Small data, and small fitted estimators that the tests of deploy share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from autokit import KerasClassifier, KerasRegressor, export_tflite, layers
from autokit._backend import keras
from autokit.testing.export import table_rows

N = 240


def mixed_table(n: int = N) -> tuple[pd.DataFrame, np.ndarray]:
    """Columns of range 1, 1e5 and far from 0, texts, missing values; a learnable class."""
    return table_rows(n)


def images(n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Noise of 8 x 8 pixels from 0 to 16, brighter in one of three rows of pixels."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    X = rng.integers(0, 8, (n, 8, 8)).astype(np.float64)
    X[np.arange(n), 2 * y + 1] += 8
    return X, y


def sequences(n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Noise of 6 steps and 3 features; the class is the sign of a sum."""
    X = np.random.default_rng(0).normal(size=(n, 6, 3))
    return X, (X[:, :, 0].sum(axis=1) > 0).astype(int)


def _small_cnn(input_shape, n_outputs):
    return layers.cnn(
        input_shape, n_outputs, output_activation="softmax", stem_width=8, widths=(8, 16)
    )


@pytest.fixture(scope="session")
def table_classifier():
    table, y = mixed_table()
    return KerasClassifier(epochs=12, learning_rate=0.01, random_state=0).fit(table, y)


@pytest.fixture(scope="session")
def table_regressor():
    table, _ = mixed_table()
    y = np.column_stack([table["large"] * 3 + 1e6, table["small"].fillna(0)])
    return KerasRegressor(epochs=12, learning_rate=0.01, random_state=0).fit(table, y)


@pytest.fixture(scope="session")
def image_classifier():
    X, y = images()
    # scaled by hand: the estimator hands its rows to a given model as they are
    return KerasClassifier(_small_cnn, epochs=8, learning_rate=0.01, random_state=0).fit(X / 16, y)


@pytest.fixture(scope="session")
def table_file(tmp_path_factory, table_classifier):
    path = tmp_path_factory.mktemp("table") / "model.tflite"
    return export_tflite(table_classifier, path, representative_data=mixed_table()[0]).path


@pytest.fixture(scope="session")
def plain_model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(hidden))
