"""What cannot be exported: one line that names the argument, what was got and the cure."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from autokit import KerasClassifier, export_tflite
from autokit._backend import keras, tf
from autokit.deploy import ExportError, proof, quantizers

from .conftest import mixed_table


@pytest.fixture
def path(tmp_path):
    """A path whose folder must be empty afterwards."""
    yield tmp_path / "model.tflite"
    assert list(tmp_path.iterdir()) == []


def _refused(message, *args, error=ExportError, **kwargs):
    with pytest.raises(error, match=message) as info:
        export_tflite(*args, **kwargs)
    assert "\n" not in str(info.value)


def test_unknown_quantization(path, plain_model):
    message = r"quantization must be one of None, 'dynamic', .*'int4', 'int16x8'; got 'int3'"
    _refused(message, plain_model, path, quantization="int3", error=ValueError)


def test_neither_estimator_nor_model(path):
    _refused("estimator_or_model must be a fitted estimator of autokit or a keras.Model", 3, path)


def test_unfitted(path):
    _refused(
        "KerasClassifier is not fitted yet; call fit", KerasClassifier(), path, error=NotFittedError
    )


def test_existing_file_and_folders(tmp_path, plain_model):
    file = tmp_path / "model.tflite"
    file.write_text("precious")
    _refused("exists; pass overwrite=True", plain_model, file, error=FileExistsError)
    missing = tmp_path / "no" / "model.tflite"
    _refused("does not exist; create it first", plain_model, missing, error=FileNotFoundError)
    _refused("is a folder; name a file in it", plain_model, tmp_path, error=IsADirectoryError)
    assert file.read_text() == "precious"


def test_unwritable_folder(path, plain_model, monkeypatch):
    # root may write anywhere: ask as somebody else would be answered
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    _refused("is not writable; choose another", plain_model, path, error=PermissionError)


def test_full_disk_leaves_nothing_and_keeps_the_former_file(tmp_path, plain_model, monkeypatch):
    file = tmp_path / "model.tflite"
    file.write_text("precious")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = r"model.tflite cannot be written \(No space left on device\); free some space"
    _refused(message, plain_model, file, overwrite=True, error=OSError)
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]
    assert file.read_text() == "precious"


def test_full_temporary_folder(path, plain_model, monkeypatch):
    def full(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    message = r"temporary folder .* cannot be written .*No space left.*free some space, or .*TMPDIR"
    _refused(message, plain_model, path, error=OSError)


def test_a_table_that_no_layer_holds(path):
    hidden = tf.Variable(tf.ones((3,)))

    class Looking(keras.layers.Layer):
        def call(self, x):
            return x * hidden

    inputs = keras.Input((3,))
    model = keras.Model(inputs, Looking()(inputs))
    message = "reads a table or a variable that no layer of Keras holds; keep it as a weight"
    _refused(message, model, path)


def test_int8_needs_rows_and_enough_of_them(path, table_classifier):
    table, _ = mixed_table()
    _refused(
        r"representative_data is needed for quantization='int8'.* 100 to 500 training rows",
        table_classifier,
        path,
        quantization="int8",
    )
    _refused(
        "representative_data has 7 rows; quantization='int8' needs at least 32",
        table_classifier,
        path,
        quantization="int8",
        representative_data=table[:7],
    )


def test_representative_data_of_another_shape(path, table_classifier, plain_model):
    table, _ = mixed_table()
    _refused(
        "representative_data does not fit the model: .*year",
        table_classifier,
        path,
        representative_data=table.drop(columns="year"),
    )
    _refused(
        r"representative_data does not fit the model: .* takes rows of shape \(4,\), got \(5,\)",
        plain_model,
        path,
        representative_data=np.zeros((40, 5)),
    )
    _refused("representative_data does not fit", plain_model, path, representative_data=3)


def test_a_model_that_answers_nan(path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.set_weights([np.full((3, 2), np.nan), np.zeros(2)])
    _refused("the model itself outputs NaN or infinity on 64 of 64 rows", model, path)


def test_an_operator_that_is_not_built_in(path):
    @keras.saving.register_keras_serializable("test")
    class InverseError(keras.layers.Layer):
        def call(self, x):
            return tf.math.erfinv(tf.tanh(x))

    inputs = keras.Input((3,))
    model = keras.Model(inputs, InverseError()(inputs))
    _refused(
        r"the layer 'inverse_error' \(InverseError\), a layer of your own, needs Erfinv, which "
        "LiteRT has not built in; write its call in other operations",
        model,
        path,
    )


def test_a_subclassed_model_without_inputs(path):
    class Custom(keras.Model):
        def call(self, x):
            return x

    _refused(
        r"the Custom has no fixed inputs; wrap it as keras.Model\(x, model\(x\)\)", Custom(), path
    )


def test_disagreement_gives_the_figures(path, plain_model):
    _refused(
        r"the int8 file disagrees with Keras: its probabilities differ by up to .* of 64 rows "
        r"beyond 1e-09; 95% of rows must be within\), and the class agrees on .*; no file was "
        r"written. To mend it, use quantization='float16'",
        plain_model,
        path,
        quantization="int8",
        representative_data=np.random.default_rng(0).normal(size=(64, 4)),
        tolerance=1e-9,
    )


def test_a_conversion_that_takes_too_long(path, plain_model):
    message = "not converted in time: it did not end within 0.01 s; raise timeout_s="
    _refused(message, plain_model, path, timeout_s=0.01)
    message = "timeout_s must be a number of seconds above 0, got 0"
    _refused(message, plain_model, path, timeout_s=0, error=ValueError)


def test_a_layer_that_loses_its_state_when_rebuilt(path):
    @keras.saving.register_keras_serializable("test")
    class Forgetful(keras.layers.Layer):
        factor = 1.0

        def call(self, x):
            return x * self.factor

    layer = Forgetful()
    layer.factor = 5.0
    model = keras.Sequential(
        [keras.Input((3,)), layer, keras.layers.Dense(4, "selu"), keras.layers.Dense(2)]
    )
    _refused(
        "rebuilt from its configuration for conversion, no longer answers as before",
        model,
        path,
        quantization="dynamic",
    )


def test_a_file_that_litert_cannot_run_is_refused(path, plain_model, monkeypatch):
    monkeypatch.setattr(
        "autokit.deploy.export.TFLiteModel.run",
        lambda *args: (_ for _ in ()).throw(ValueError("node 3 failed to prepare")),
    )
    _refused("LiteRT cannot run the converted file: node 3 failed to prepare", plain_model, path)


def test_export_error_is_a_value_error():
    assert issubclass(ExportError, ValueError)
    assert set(proof.TOLERANCES) == set(quantizers.QUANTIZERS)
