"""Every kind of model through every quantisation, as raw rows in and answers out."""

from __future__ import annotations

import numpy as np
import pytest

from autokit import (
    ExportReport,
    KerasClassifier,
    KerasRegressor,
    TFLiteModel,
    export_tflite,
    layers,
)
from autokit._backend import keras

from .conftest import images, mixed_table, sequences

QUANTIZATIONS = (None, "dynamic", "float16", "int8")


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_table_of_wild_ranges_texts_and_missing_values(tmp_path, table_classifier, quantization):
    table, y = mixed_table()
    report = export_tflite(
        table_classifier,
        tmp_path / "model.tflite",
        quantization=quantization,
        representative_data=table,
    )
    file = TFLiteModel(report.path)
    assert report.agreement >= 0.98
    assert report.n_rows == len(table)
    assert np.mean(file.predict(table) == y) > 0.9
    assert np.mean(file.predict(table) == table_classifier.predict(table)) >= 0.98
    if quantization is None:
        np.testing.assert_allclose(
            file.predict_proba(table), table_classifier.predict_proba(table), atol=1e-5
        )
    unseen = table.assign(city="Atlantis", small=np.nan)
    difference = file.predict_proba(unseen) - table_classifier.predict_proba(unseen)
    assert np.abs(difference).max() < (1e-5 if quantization is None else 0.1)


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_images(tmp_path, image_classifier, quantization):
    X, y = images()
    report = export_tflite(
        image_classifier,
        tmp_path / "model.tflite",
        quantization=quantization,
        representative_data=X / 16,
    )
    file = TFLiteModel(report.path)
    assert report.agreement >= 0.98
    assert report.max_abs_error < (1e-5 if quantization is None else 0.1)
    assert np.mean(file.predict(X / 16) == image_classifier.predict(X / 16)) >= 0.98
    assert file.predict(X[:1] / 16).dtype == y.dtype


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_regression_of_two_targets_of_wild_ranges(tmp_path, table_regressor, quantization):
    table, _ = mixed_table()
    report = export_tflite(
        table_regressor,
        tmp_path / "model.tflite",
        quantization=quantization,
        representative_data=table,
    )
    expected = table_regressor.predict(table)
    got = TFLiteModel(report.path).predict(table)
    assert report.agreement is None
    assert got.shape == expected.shape == (len(table), 2)
    # one scale for both targets would leave nothing of the second
    error = np.abs(got - expected).mean(axis=0) / np.ptp(expected, axis=0)
    assert (error < (1e-6 if quantization is None else 0.02)).all()


def test_a_single_target_comes_back_one_dimensional(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 3))
    regressor = KerasRegressor(epochs=2, random_state=0).fit(X, X.sum(axis=1))
    report = export_tflite(regressor, tmp_path / "model.tflite")
    got = TFLiteModel(report.path).predict(X)
    np.testing.assert_allclose(got, regressor.predict(X), atol=1e-5)
    assert got.shape == (60,)


def _gru(input_shape, n_outputs):
    return layers.sequence(
        input_shape, n_outputs, output_activation="softmax", widths=(4,), recurrent_units=4
    )


def _lstm(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Bidirectional(keras.layers.LSTM(4)),
            keras.layers.Dense(n_outputs, activation="softmax"),
        ]
    )


def _conv1d(input_shape, n_outputs):
    return layers.sequence(input_shape, n_outputs, output_activation="softmax", widths=(4, 8))


@pytest.mark.parametrize("build", [_gru, _lstm, _conv1d])
def test_sequences_in_float(tmp_path, build):
    X, y = sequences()
    classifier = KerasClassifier(build, epochs=2, random_state=0).fit(X, y)
    report = export_tflite(classifier, tmp_path / "model.tflite", representative_data=X)
    file = TFLiteModel(report.path)
    assert report.max_abs_error <= 1e-5
    np.testing.assert_allclose(file.predict_proba(X), classifier.predict_proba(X), atol=1e-5)
    assert len(file.predict(X[:1])) == 1


@pytest.mark.parametrize("quantization", ["dynamic", "int8"])
def test_recurrent_networks_quantised_do_not_end_the_process(tmp_path, quantization):
    X, y = sequences()
    classifier = KerasClassifier(_gru, epochs=2, random_state=0).fit(X, y)
    report = export_tflite(
        classifier, tmp_path / "model.tflite", quantization=quantization, representative_data=X
    )
    assert report.agreement > 0.9
    assert ("WHILE" in report.ops) == (quantization == "dynamic")
    assert TFLiteModel(report.path).predict_proba(X).shape == (100, 2)


def test_selu_keeps_its_precision_in_int8(tmp_path):
    X, y = images()
    X = X.reshape(len(X), -1)
    classifier = KerasClassifier(
        lambda shape, n: layers.mlp(
            shape,
            n,
            output_activation="softmax",
            widths=(32,),
            activation="selu",
            normalization="layer",
        ),
        epochs=5,
        random_state=0,
    ).fit(X / 16, y)
    report = export_tflite(
        classifier, tmp_path / "model.tflite", quantization="int8", representative_data=X / 16
    )
    assert report.max_abs_error < 0.1
    # the user's model is not the one that was rewritten
    assert any(
        getattr(layer, "activation", None) is keras.activations.selu
        for layer in classifier.model_.layers
    )


def test_a_sigmoid_output_gives_two_columns(tmp_path):
    X, y = sequences()
    classifier = KerasClassifier(
        keras.Sequential(
            [
                keras.Input((6, 3)),
                keras.layers.Flatten(),
                keras.layers.Dense(1, activation="sigmoid"),
            ]
        ),
        epochs=2,
        random_state=0,
    ).fit(X, np.where(y, "up", "down"))
    report = export_tflite(
        classifier, tmp_path / "model.tflite", quantization="int8", representative_data=X
    )
    file = TFLiteModel(report.path)
    assert file.classes_.tolist() == ["down", "up"]
    np.testing.assert_allclose(file.predict_proba(X).sum(axis=1), 1, atol=1e-6)
    assert np.mean(file.predict(X) == classifier.predict(X)) > 0.95


@pytest.mark.parametrize("layer", ["Normalization", "BatchNormalization"])
def test_a_model_that_starts_by_normalising_stays_right_in_int8(tmp_path, layer):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)) * [1, 1e5, 1, 1] + [0, 3e4, 0, 50]
    first = getattr(keras.layers, layer)()
    if layer == "Normalization":
        first.adapt(X)
    else:
        first.build((None, 4))
        first.set_weights([np.ones(4), np.zeros(4), X.mean(axis=0), X.var(axis=0)])
    model = keras.Sequential(
        [keras.Input((4,)), first, keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax")]
    )
    report = export_tflite(
        model, tmp_path / "model.tflite", quantization="int8", representative_data=X
    )
    assert report.agreement > 0.95
    assert report.max_abs_error < 0.1


def test_several_inputs_and_outputs(tmp_path):
    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right-hand")
    both = keras.layers.Concatenate()([left, right])
    model = keras.Model(
        [left, right],
        {
            "kind": keras.layers.Dense(3, activation="softmax", name="kind")(both),
            "size": keras.layers.Dense(1, name="size")(right),
        },
    )
    rng = np.random.default_rng(0)
    X = {"left": rng.normal(size=(50, 4)), "right-hand": rng.normal(size=(50, 3))}
    expected = model([X["left"], X["right-hand"]])
    for quantization in (None, "int8"):
        report = export_tflite(
            model,
            tmp_path / "model.tflite",
            quantization=quantization,
            representative_data=X,
            overwrite=True,
        )
        file = TFLiteModel(report.path)
        for rows in (X, list(X.values())):
            got = file.predict(rows)
            for name in ("kind", "size"):
                tolerance = 1e-5 if quantization is None else 0.1
                np.testing.assert_allclose(got[name], expected[name], atol=tolerance)
    with pytest.raises(ValueError, match="X must give the inputs left, right_hand of model.tflite"):
        file.predict(X["left"])


def test_integer_inputs(tmp_path):
    inputs = keras.Input((6,), dtype="int32")
    embedded = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(20, 4)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(embedded))
    X = np.random.default_rng(0).integers(0, 20, (40, 6))
    report = export_tflite(model, tmp_path / "model.tflite", representative_data=X)
    file = TFLiteModel(report.path)
    np.testing.assert_allclose(file.predict(X), model(X), atol=1e-5)
    with pytest.raises(ValueError, match="X must be int32 for the input 'rows', got float64"):
        file.predict(X + 0.5)


def test_half_precision_training_gives_a_float32_file(tmp_path):
    X, _ = images()
    model = layers.mlp((8, 8), 3, output_activation="softmax", widths=(8,))
    config = model.get_config()
    for layer in config["layers"]:
        policy = layer["config"].get("dtype")
        if isinstance(policy, dict) and layer["class_name"] == "Dense":
            policy["config"]["name"] = "mixed_float16"
    half = keras.Model.from_config(config)
    report = export_tflite(half, tmp_path / "model.tflite", representative_data=X / 16)
    assert 1e-6 < report.max_abs_error < 1e-2


def test_report_and_silence(tmp_path, table_classifier, capfd):
    table, _ = mixed_table()
    path = tmp_path / "model.tflite"
    report = export_tflite(table_classifier, path)
    assert isinstance(report, ExportReport)
    assert report.path == path and report.size_bytes == path.stat().st_size
    assert report.rows_from == "synthetic" and report.agreement == 1.0
    assert report.latency_ms.p10 <= report.latency_ms.median <= report.latency_ms.p90
    assert report.ops["FULLY_CONNECTED"] == 3
    first = path.read_bytes()
    export_tflite(table_classifier, path, overwrite=True, representative_data=table)
    assert path.read_bytes() == first, "the same model gives the same bytes"
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]
    assert capfd.readouterr() == ("", "")


def test_lists_of_mixed_rows_as_representative_data(tmp_path, table_classifier):
    table, y = mixed_table()
    rows = [["a" if i % 2 else "b", float(i)] for i in range(80)]
    classifier = KerasClassifier(epochs=1, random_state=0).fit(rows, y[:80])
    report = export_tflite(
        classifier, tmp_path / "model.tflite", quantization="int8", representative_data=rows
    )
    assert report.n_rows == 80
    assert len(TFLiteModel(report.path).predict(rows)) == 80


def test_int8_is_at_most_035_of_the_float_file(tmp_path):
    # the smallest network of the size that digits need
    model = layers.cnn(
        (8, 8), 10, output_activation="softmax", stem_width=16, widths=(32, 64), block="plain"
    )
    assert 20_000 < model.count_params() < 30_000
    X, _ = images(64)
    sizes = {
        quantization: export_tflite(
            model,
            tmp_path / f"{quantization}.tflite",
            quantization=quantization,
            representative_data=X / 16,
        ).size_bytes
        for quantization in (None, "int8")
    }
    assert sizes["int8"] <= 0.35 * sizes[None]


def test_columns_may_come_in_as_arrays_without_names(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60).astype(bool)
    classifier = KerasClassifier(epochs=1, random_state=0).fit(X, y)
    report = export_tflite(classifier, tmp_path / "model.tflite", representative_data=X)
    file = TFLiteModel(report.path)
    assert file.classes_.dtype == bool
    np.testing.assert_array_equal(file.predict(X.tolist()), classifier.predict(X))
    with pytest.raises(ValueError, match="X has 2 features, but TFLiteModel is expecting 3"):
        file.predict(X[:, :2])
    with pytest.raises(ValueError, match="X's column 1 holds the text 'y'"):
        file.predict([[1.0, "y", 2.0]])
