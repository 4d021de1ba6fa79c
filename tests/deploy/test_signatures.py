"""Files that learn: their steps against Keras' own, and what comes of many of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from autokit import KerasClassifier, TFLiteModel, export_tflite
from autokit._backend import keras
from autokit.deploy import ExportError

from .conftest import mixed_table, sequences

ALL = ("serve", "embed", "train_head", "infer")
RNG = np.random.default_rng(0)


def _network(n_outputs, activation, use_bias=True):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(6, activation="relu", name="hidden")(inputs)
    outputs = keras.layers.Dense(n_outputs, activation=activation, use_bias=use_bias, name="last")
    return keras.Model(inputs, outputs(hidden))


def _features(model):
    return keras.Model(model.inputs[0], model.layers[-1].input)


LOSSES = {
    "softmax": "sparse_categorical_crossentropy",
    "sigmoid": "binary_crossentropy",
    None: "mean_squared_error",
}


@pytest.mark.parametrize("activation", LOSSES)
def test_a_step_is_that_of_keras(tmp_path, activation):
    model = _network(3, activation)
    path = export_tflite(model, tmp_path / "model.tflite", signatures=ALL).path
    file = TFLiteModel(path)
    X = RNG.normal(size=(10, 4)).astype(np.float32)
    if activation == "softmax":
        y = RNG.integers(0, 3, 10)
    else:
        y = (RNG.random((10, 3)) if activation is None else RNG.integers(0, 2, (10, 3))) * 1.0
    np.testing.assert_allclose(file.embed(X), _features(model)(X), atol=1e-6)
    model.get_layer("hidden").trainable = False
    model.compile(keras.optimizers.SGD(0.3), LOSSES[activation], jit_compile=False)
    for _ in range(3):
        loss = model.train_on_batch(X, y)
        file.partial_fit(X, y, learning_rate=0.3, batch_size=10)
    kernel, bias = model.get_layer("last").get_weights()
    np.testing.assert_allclose(file.head["kernel"].T, kernel, atol=1e-6)
    np.testing.assert_allclose(file.head["bias"], bias, atol=1e-6)
    np.testing.assert_allclose(file.predict(X), model(X), atol=1e-5)
    assert np.isfinite(loss)


def test_loss_is_that_of_keras(tmp_path):
    model = _network(3, "softmax", use_bias=False)
    file = TFLiteModel(export_tflite(model, tmp_path / "model.tflite", signatures=ALL).path)
    X, y = RNG.normal(size=(7, 4)).astype(np.float32), RNG.integers(0, 3, 7).astype(np.int32)
    batch = {"embedding": file.embed(X), "labels": y, **file.head}
    got = file.run_signature("train_head", {}, {**batch, "learning_rate": np.zeros(1, np.float32)})
    model.compile(loss=LOSSES["softmax"], jit_compile=False)
    assert got["loss"][0] == pytest.approx(model.evaluate(X, y, verbose=0), abs=1e-6)
    np.testing.assert_array_equal(got["kernel"], file.head["kernel"])
    new = file.run_signature("head", {}, {"scale": np.zeros(1, np.float32)})
    assert new["kernel"].shape == (3, 6) and not new["kernel"].any()


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8)
    classifier = KerasClassifier(_small, epochs=15, learning_rate=0.01, random_state=0)
    return classifier.fit(X[:900] / 16, y[:900]), np.roll(X, 2, axis=2) / 16, y


def _small(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(n_outputs),
            keras.layers.Softmax(),
        ]
    )


@pytest.fixture(scope="module")
def trained_by_keras(digits):
    """Accuracy on shifted digits of the same head, trained by Keras in the same way."""
    classifier, shifted, y = digits
    *_, dense, _ = classifier.model_.layers
    features = keras.Model(classifier.model_.inputs[0], dense.input)
    embedded = features(classifier.encoder_.encode(shifted)).numpy()
    head = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    head.set_weights(dense.get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    head.compile(keras.optimizers.SGD(0.5), loss, jit_compile=False)
    head.fit(embedded[:900], y[:900], epochs=300, batch_size=900, verbose=0)
    return np.mean(head.predict(embedded[900:], verbose=0).argmax(axis=1) == y[900:])


@pytest.mark.parametrize("quantization", [None, "float16", "dynamic", "int8"])
def test_a_file_learns_shifted_digits_as_keras_does(
    tmp_path, digits, trained_by_keras, quantization
):
    classifier, shifted, y = digits
    options = {"quantization": quantization, "representative_data": shifted[:300]}
    report = export_tflite(classifier, tmp_path / "model.tflite", signatures=ALL, **options)
    plain = export_tflite(classifier, tmp_path / "plain.tflite", **options)
    file = TFLiteModel(report.path)
    assert set(ALL) < set(file.signatures)
    X, target = shifted[900:], y[900:]
    before = np.mean(file.predict(X) == target)
    file.partial_fit(shifted[:900], y[:900], learning_rate=0.5, epochs=300, batch_size=900)
    after = np.mean(file.predict(X) == target)
    assert after > before + 0.2
    assert after == pytest.approx(trained_by_keras, abs=0.005)
    file.head = None
    assert np.mean(file.predict(X) == target) == before
    # five graphs, one copy of the weights
    assert report.size_bytes < plain.size_bytes + 12_000


def test_classes_may_change_their_meaning(tmp_path, digits):
    classifier, shifted, y = digits
    file = TFLiteModel(export_tflite(classifier, tmp_path / "m.tflite", signatures=ALL).path)
    X, y = np.roll(shifted, -2, axis=2), 9 - y
    assert np.mean(file.predict(X[900:]) == y[900:]) < 0.1
    file.head = {name: np.zeros_like(value) for name, value in file.head.items()}
    file.partial_fit(X[:900], y[:900], epochs=20)
    assert np.mean(file.predict(X[900:]) == y[900:]) > 0.85
    proba = file.predict_proba(X[:3])
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
    again = TFLiteModel(file.path)
    again.head = file.head
    np.testing.assert_array_equal(again.predict_proba(X[:3]), proba)


def test_two_classes_with_a_sigmoid_and_texts_in_the_rows(tmp_path):
    table, y = mixed_table()
    table = table[["small", "city"]]
    classifier = KerasClassifier(
        lambda shape, n: keras.Sequential(
            [
                keras.Input(shape),
                keras.layers.Dense(8, "relu"),
                keras.layers.Dense(1, activation="sigmoid"),
            ]
        ),
        epochs=5,
        random_state=0,
    ).fit(table, y)
    path = export_tflite(classifier, tmp_path / "model.tflite", signatures=ALL).path
    file = TFLiteModel(path)
    assert file.embed(table).shape == (len(table), 8)
    flipped = np.where(y == "yes", "no", "yes")
    before = np.mean(file.predict(table) == flipped)
    file.partial_fit(table, flipped, epochs=30)
    assert np.mean(file.predict(table) == flipped) > max(0.65, before)


def test_numbers_are_learned_in_their_own_units(tmp_path, table_regressor):
    table, _ = mixed_table()
    y = np.column_stack([table["large"] * 3 + 1e6, table["small"].fillna(0)])
    path = tmp_path / "model.tflite"
    report = export_tflite(
        table_regressor, path, representative_data=table, representative_target=y, signatures=ALL
    )
    assert report.score.name == "r2"
    file = TFLiteModel(path)
    moved = y + [2e5, -1]
    wrong = np.abs(file.predict(table) - moved).mean(axis=0)
    file.partial_fit(table, moved, epochs=30)
    assert (np.abs(file.predict(table) - moved).mean(axis=0) < 0.5 * wrong).all()


def test_a_recurrent_network_learns_row_by_row(tmp_path):
    X, y = sequences()
    classifier = KerasClassifier(
        lambda shape, n: keras.Sequential(
            [keras.Input(shape), keras.layers.GRU(8), keras.layers.Dense(n)]
        ),
        epochs=1,
        random_state=0,
    ).fit(X, y)
    assert classifier.output_activation_ == "softmax"
    path = tmp_path / "model.tflite"
    file = TFLiteModel(export_tflite(classifier, path, signatures=ALL).path)
    before = np.mean(file.predict(X) == y)
    file.partial_fit(X, y, epochs=20, learning_rate=0.5)
    assert np.mean(file.predict(X) == y) > before


def test_only_what_is_asked_for(tmp_path, plain_model):
    path = tmp_path / "model.tflite"
    export_tflite(plain_model, path, signatures="embed")
    file = TFLiteModel(path)
    assert file.signatures == ("serve", "embed")
    X = np.zeros((3, 4))
    assert file.embed(X).shape == (3, 8)
    message = r"model.tflite has no signature 'train_head'; export it with signatures=\('embed'"
    with pytest.raises(AttributeError, match=message):
        file.partial_fit(X, [0, 1, 2])
    with pytest.raises(AttributeError, match="has no signature 'infer'"):
        file.head = {}
    with pytest.raises(ValueError, match="signatures must be some of 'serve', .*; got 'learn'"):
        export_tflite(plain_model, path, signatures=("learn",), overwrite=True)
    with pytest.raises(ValueError, match="takes numbers, not the integers of integer_io=True"):
        export_tflite(
            plain_model,
            path,
            signatures=ALL,
            quantization="int8",
            integer_io=True,
            representative_data=np.zeros((40, 4)),
            overwrite=True,
        )


def _refused(message, model, folder):
    with pytest.raises(ExportError, match=message) as info:
        export_tflite(model, folder / "model.tflite", signatures=ALL)
    assert "\n" not in str(info.value)
    assert list(folder.iterdir()) == []


def test_models_without_a_head(tmp_path):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="hidden")(inputs)
    last = keras.layers.LayerNormalization(name="norm")(hidden)
    _refused(
        "its last layer is 'norm', a LayerNormalization; end it so",
        keras.Model(inputs, last),
        tmp_path,
    )
    _refused("the model has several outputs", keras.Model(inputs, [hidden, last]), tmp_path)
    gelu = keras.layers.Dense(2, activation="gelu", name="last")(hidden)
    _refused("the activation of 'last' is 'gelu'", keras.Model(inputs, gelu), tmp_path)
    double = keras.layers.Softmax()(keras.layers.Dense(2, "sigmoid", name="last")(hidden))
    _refused("'last' has two activations", keras.Model(inputs, double), tmp_path)


def test_a_step_that_is_not_keras_own_is_refused(tmp_path, plain_model, monkeypatch):
    original = TFLiteModel.run_signature

    def wrong(self, name, *args):
        outputs = original(self, name, *args)
        return {k: v * 1.1 for k, v in outputs.items()} if name == "train_head" else outputs

    monkeypatch.setattr(TFLiteModel, "run_signature", wrong)
    _refused("train_head of the converted file is off by 0.*Leave it out", plain_model, tmp_path)


def test_wrong_arguments_leave_the_head(tmp_path, digits):
    classifier, X, y = digits
    file = TFLiteModel(export_tflite(classifier, tmp_path / "m.tflite", signatures=ALL).path)
    head = file.head
    for message, rows, target, options in (
        (
            "y has the label 12, which this file does not know; its classes are 0, 1",
            X[:2],
            [1, 12],
            {},
        ),
        ("y has 1 targets for 2 rows", X[:2], [1], {}),
        ("y must be of shape", X[:2], [[1], [2]], {}),
        ("batch_size must be at least 1, got 0", X[:2], [1, 2], {"batch_size": 0}),
        (
            "learning_rate=1e[+]38 made the loss .*; lower it",
            X[:64],
            y[:64],
            {"learning_rate": 1e38},
        ),
    ):
        with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
            file.partial_fit(rows, target, epochs=3, **options)
    assert all((file.head[name] == head[name]).all() for name in head)
    with pytest.raises(ValueError, match=r"head: kernel must be of shape \(10, 64\) for m.tflite"):
        file.head = {"kernel": np.zeros((64, 10)), "bias": np.zeros(10)}
