from __future__ import annotations

import zipfile

import numpy as np
import pytest
from sklearn.metrics import r2_score

from autokit import TFLiteModel, compare_exports, export_tflite
from autokit._backend import keras, tf
from autokit.deploy import compare
from autokit.deploy.compare_plot import figure_of
from autokit.deploy.quantizers import QUANTIZERS

from .conftest import images, mixed_table


def test_every_quantisation_has_a_row_of_its_own_figures(tmp_path, image_classifier):
    X, y = images()
    tried = []
    table = compare_exports(image_classifier, X / 16, y, progress=tried.append)
    assert tried == [row.quantization for row in table.rows] == [q or "none" for q in QUANTIZERS]
    frame = table.to_frame()
    assert table.score_name == "accuracy" and table.n_rows == len(X)
    assert table.keras_score == np.mean(image_classifier.predict(X / 16) == y)
    assert frame.loc["none", "failure"] is None
    assert frame.loc["none", "agreement"] == 1.0
    assert frame.loc["none", "accuracy"] == table.keras_score
    assert frame.loc["int8", "size_bytes"] < 0.6 * frame.loc["none", "size_bytes"]
    made = frame[frame.failure.isna()]
    assert (made.zipped_bytes < made.size_bytes).all()
    assert (made.latency_ms > 0).all()
    path = tmp_path / "exports.png"
    table.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_figures_are_those_of_the_files(tmp_path, table_regressor):
    table, _ = mixed_table()
    y = np.column_stack([table["large"] * 3 + 1e6, table["small"].fillna(0)])
    (row,) = compare_exports(table_regressor, table, y, quantizations=[None]).rows
    path = tmp_path / "model.tflite"
    report = export_tflite(table_regressor, path, representative_data=table)
    assert row.size_bytes == report.size_bytes
    assert row.score == pytest.approx(r2_score(y, TFLiteModel(path).predict(table)), abs=1e-6)
    assert row.agreement is None and row.failure is None
    with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as f:
        f.write(path)
    (member,) = zipfile.ZipFile(tmp_path / "model.zip").infolist()
    assert row.zipped_bytes == pytest.approx(member.compress_size, abs=2)


def test_what_cannot_be_exported_is_a_row_with_the_reason(plain_model):
    @keras.saving.register_keras_serializable("test")
    class Inverse(keras.layers.Layer):
        def call(self, x):
            return tf.nn.softmax(tf.math.erfinv(tf.tanh(x)))

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Inverse()(inputs))
    X = np.random.default_rng(0).normal(size=(40, 3))
    table = compare_exports(model, X, X.argmax(axis=1), quantizations=[None])
    (row,) = table.rows
    assert "needs Erfinv" in row.failure and row.size_bytes is None
    assert table.keras_score == 1.0 and np.isnan(table.to_frame().loc["none", "accuracy"])
    assert figure_of(table).axes


def test_wrong_arguments(plain_model):
    X = np.zeros((40, 4))
    with pytest.raises(ValueError, match=r"quantizations must be some of None, .*got \['int3'\]"):
        compare_exports(plain_model, X, np.zeros(40, int), quantizations=["int3"])
    with pytest.raises(ValueError, match="y has 39 targets for 40 rows"):
        compare_exports(plain_model, X, np.zeros(39, int))
    with pytest.raises(ValueError, match="y must hold 3 numbers a row, as the model answers"):
        compare_exports(plain_model, X, np.zeros((40, 2)))
    left, right = keras.Input((2,)), keras.Input((2,))
    both = keras.Model([left, right], [left + right, left - right])
    with pytest.raises(ValueError, match="has several outputs, and y is one"):
        compare_exports(both, [X[:, :2], X[:, 2:]], X)


def test_zipped_size_of_what_cannot_be_compressed():
    noise = np.random.default_rng(0).bytes(5000)
    assert 5000 <= compare.zipped_bytes(noise) < 5020
    assert compare.zipped_bytes(bytes(5000)) < 50
