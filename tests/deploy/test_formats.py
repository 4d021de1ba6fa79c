"""SavedModel, .keras and ONNX: what they answer, and what they refuse."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from autokit import KerasClassifier, KerasRegressor, export_keras, export_onnx, export_saved_model
from autokit._backend import keras, tf
from autokit.deploy import ExportError, formats

from .conftest import images, mixed_table, sequences

X, Y = images(60)


@pytest.fixture(scope="module")
def image_estimator():
    return KerasClassifier(epochs=1, random_state=0).fit(X, Y)


def test_a_saved_model_takes_texts_and_missing_values(tmp_path, table_classifier):
    table, _ = mixed_table()
    path = tmp_path / "model"
    report = export_saved_model(table_classifier, path, representative_data=table)
    assert report.agreement == 1.0 and report.max_abs_error < 1e-5
    assert report.size_bytes > 10_000 and report.rows_from == "representative_data"
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    tensors = table_classifier.encoder_.raw_tensors(table)
    got = serve(**{name: tf.constant(value) for name, value in tensors.items()})["output"]
    np.testing.assert_allclose(got, table_classifier.predict_proba(table), atol=1e-5)
    with pytest.raises(FileExistsError, match="exists; pass overwrite=True"):
        export_saved_model(table_classifier, path)
    export_saved_model(table_classifier, path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="is a folder but no SavedModel"):
        export_saved_model(table_classifier, tmp_path / "precious", overwrite=True)


def test_a_keras_file_takes_raw_rows_without_autokit(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 3)) * [1, 100, 1] + [0, 50, 3]
    regressor = KerasRegressor(epochs=2, random_state=0).fit(rows, rows @ [3.0, 1, 0] + 1e3)
    path = tmp_path / "model.keras"
    report = export_keras(regressor, path, representative_data=rows)
    assert report.size_bytes == path.stat().st_size and report.agreement is None
    np.save(tmp_path / "rows.npy", rows.astype(np.float32))
    code = f"""
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras, numpy as np
model = keras.models.load_model({str(path)!r})
np.save({str(tmp_path / "out.npy")!r}, model(np.load({str(tmp_path / "rows.npy")!r})))
assert "autokit" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)
    got = np.load(tmp_path / "out.npy")[:, 0]
    np.testing.assert_allclose(got, regressor.predict(rows), rtol=1e-5)


def test_a_keras_file_of_images_and_of_a_sigmoid(tmp_path, image_estimator):
    report = export_keras(image_estimator, tmp_path / "a.keras", representative_data=X)
    assert report.agreement == 1.0 and report.max_abs_error < 1e-4
    network = keras.Sequential([keras.Input((6, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
    rows, y = sequences()
    classifier = KerasClassifier(network, epochs=1, random_state=0).fit(rows, y)
    export_keras(classifier, tmp_path / "b.keras", representative_data=rows)
    loaded = keras.models.load_model(tmp_path / "b.keras")
    np.testing.assert_allclose(loaded(rows), classifier.predict_proba(rows), atol=1e-5)


def test_keras_refuses_texts_other_names_and_layers_that_nobody_knows(tmp_path, table_classifier):
    with pytest.raises(ExportError, match="column 'small', column 'city' of its rows holds texts"):
        export_keras(table_classifier, tmp_path / "model.keras")
    with pytest.raises(ValueError, match="path must end in .keras"):
        export_keras(table_classifier, tmp_path / "model.h5")

    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    inputs = keras.Input((3,))
    with pytest.raises(ExportError, match="cannot be saved and loaded: .*register your own"):
        export_keras(keras.Model(inputs, Unknown()(inputs)), tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("build", ["images", "lstm", "attention"])
def test_onnx_takes_raw_rows(tmp_path, build, image_estimator):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    inputs = keras.Input((6, 3))
    layers = keras.layers
    if build == "images":
        model, rows = image_estimator, X
    else:
        rows = sequences()[0].astype(np.float32)
        hidden = (
            layers.LSTM(4)(inputs)
            if build == "lstm"
            else layers.Flatten()(layers.MultiHeadAttention(2, 4)(inputs, inputs))
        )
        model = keras.Model(inputs, layers.Dense(3, activation="softmax")(hidden))
    path = tmp_path / "model.onnx"
    report = export_onnx(model, path, representative_data=rows)
    assert report.max_abs_error < 1e-4
    assert report.agreement == 1.0
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (got,) = session.run(["output"], {"rows": rows[:5].astype(np.float32)})
    expected = model.predict_proba(rows[:5]) if build == "images" else model(rows[:5])
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_onnx_refuses_texts(tmp_path, table_classifier):
    pytest.importorskip("tf2onnx")
    pytest.importorskip("onnxruntime")
    with pytest.raises(ExportError, match=r"takes texts \(categorical\).* use export_saved_model"):
        export_onnx(table_classifier, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_onnx_without_its_packages(tmp_path, plain_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r'needs tf2onnx, .*pip install "autokit\[onnx\]"'):
        export_onnx(plain_model, tmp_path / "model.onnx")


@pytest.mark.parametrize("export", [export_saved_model, export_keras])
def test_what_disagrees_is_refused_and_leaves_nothing(tmp_path, plain_model, export, monkeypatch):
    original = formats.proof.compare

    def wrong(expected, got, **options):
        return original(expected, {k: v + 0.5 for k, v in got.items()}, **options)

    monkeypatch.setattr(formats.proof, "compare", wrong)
    with pytest.raises(ExportError, match="disagrees with Keras"):
        export(plain_model, tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []
