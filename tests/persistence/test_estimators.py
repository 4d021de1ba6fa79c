"""Real estimators: saved, pickled, copied, and loaded elsewhere."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import autokit
from autokit import KerasClassifier, KerasRegressor, NASClassifier
from autokit._backend import keras
from autokit.persistence import Unsaved

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
y = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
FRAME = pd.DataFrame({"a": X[:, 0], "city": rng.choice(["Oslo", "Rome", None], 60)})


def build_with_everything(input_shape, n_outputs):
    inputs = keras.Input(input_shape)
    h = keras.layers.Dense(8, activation="gelu", kernel_regularizer=keras.regularizers.L2(1e-3))(
        inputs
    )
    h = keras.layers.BatchNormalization()(h)
    h = keras.layers.Dropout(0.2)(keras.ops.add(h, 1.0) * 2)
    outputs = keras.layers.Dense(n_outputs, activation="softmax")(h)
    return keras.Model(inputs, outputs)


def build_with_lambda(input_shape, n_outputs):
    layers = keras.layers
    return keras.Sequential(
        [keras.Input(input_shape), layers.Lambda(lambda x: x), layers.Dense(n_outputs)]
    )


class Doubling(keras.layers.Layer):
    def call(self, x):
        return x * 2


@keras.saving.register_keras_serializable("autokit_tests")
class Halving(keras.layers.Layer):
    def call(self, x):
        return x / 2


def build_with(layer):
    def build(input_shape, n_outputs):
        return keras.Sequential(
            [keras.Input(input_shape), layer(), keras.layers.Dense(n_outputs, "softmax")]
        )

    return build


@pytest.fixture(scope="module")
def classifier():
    return KerasClassifier(build_with_everything, epochs=2, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def regressor():
    target = np.column_stack([X[:, 0] * 1e3, X[:, 1] + 7])
    return KerasRegressor(epochs=2, random_state=0).fit(FRAME, target)


@pytest.mark.parametrize(
    "duplicate",
    [
        lambda e: pickle.loads(pickle.dumps(e)),
        copy.deepcopy,
        lambda e: joblib.load(io.BytesIO(dumped(e))),
    ],
    ids=["pickle", "deepcopy", "joblib"],
)
def test_pickle_and_friends(duplicate, classifier, regressor):
    np.testing.assert_array_equal(
        duplicate(classifier).predict_proba(X), classifier.predict_proba(X)
    )
    np.testing.assert_array_equal(duplicate(regressor).predict(FRAME), regressor.predict(FRAME))
    assert clone(classifier).get_params() == classifier.get_params()


def dumped(estimator):
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()


def test_classifier(classifier, tmp_path):
    expected = classifier.predict_proba(X)
    loaded = autokit.load(autokit.save(classifier, tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    np.testing.assert_array_equal(loaded.predict(X), classifier.predict(X))
    assert loaded.history_ == classifier.history_
    assert loaded.model == Unsaved("function build_with_everything")
    again = autokit.load(autokit.save(loaded, tmp_path / "again"))
    np.testing.assert_array_equal(again.predict_proba(X), expected)


def test_training_goes_on_alike(tmp_path):
    """Optimizer and seeds of dropout included."""
    original = KerasClassifier(build_with_everything, epochs=1, random_state=0).fit(X, y)
    loaded = autokit.load(autokit.save(original, tmp_path / "model"))
    original.partial_fit(X, y)
    loaded.partial_fit(X, y)
    np.testing.assert_array_equal(loaded.predict_proba(X), original.predict_proba(X))


@pytest.mark.slow
def test_regressor_in_a_fresh_process(regressor, tmp_path):
    path = autokit.save(regressor, tmp_path / "model")
    expected = regressor.predict(FRAME)
    np.save(tmp_path / "expected.npy", expected)
    FRAME.to_json(tmp_path / "frame.json", orient="split", double_precision=15)
    np.save(tmp_path / "a.npy", FRAME["a"].to_numpy())
    code = (
        "import sys, numpy as np, pandas as pd, autokit\n"
        "folder = sys.argv[1]\n"
        "X = pd.read_json(folder + '/frame.json', orient='split')\n"
        "X['a'] = np.load(folder + '/a.npy')\n"
        "loaded = autokit.load(folder + '/model')\n"
        "np.testing.assert_array_equal(loaded.predict(X), np.load(folder + '/expected.npy'))\n"
        "print(loaded.feature_names_in_.tolist())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['a', 'city']"
    assert b"pickle" not in path.read_bytes()


def test_a_search(tmp_path):
    search = NASClassifier(max_trials=2, epochs=1, time_budget_s=None, random_state=0).fit(X, y)
    loaded = autokit.load(autokit.save(search, tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))
    assert loaded.best_architecture_ == search.best_architecture_
    pd.testing.assert_frame_equal(
        loaded.search_result_.to_frame(), search.search_result_.to_frame()
    )
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict_proba(X), search.predict_proba(X))


def test_flipped_bytes_of_a_model(regressor, tmp_path):
    path = autokit.save(regressor, tmp_path / "model")
    data = path.read_bytes()
    expected = regressor.predict(FRAME)
    positions = np.random.default_rng(1).choice(len(data), 50, replace=False)
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        try:
            loaded = autokit.load(path)
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            np.testing.assert_array_equal(loaded.predict(FRAME), expected)


def test_unfitted_parameters_of_keras(tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 100)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
    model.compile("adam", "mse")
    estimator = KerasClassifier(
        model,
        optimizer=keras.optimizers.SGD(schedule, momentum=0.5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        class_weight={0: 1.0, np.int64(1): np.float32(2.0)},
        callbacks=[keras.callbacks.TerminateOnNaN()],
        random_state=np.random.RandomState(3),
        learning_rate=None,
    )
    loaded = autokit.load(autokit.save(estimator, tmp_path / "model"))
    assert loaded.optimizer.get_config() == estimator.optimizer.get_config()
    assert loaded.loss.get_config() == estimator.loss.get_config()
    assert loaded.class_weight == {0: 1.0, 1: 2.0}
    assert loaded.callbacks == [Unsaved("TerminateOnNaN object")]
    assert loaded.random_state.randint(10**6) == estimator.random_state.randint(10**6)
    for a, b in zip(loaded.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_whose_settings_keras_forgets(tmp_path):
    estimator = KerasRegressor(loss=keras.losses.Huber(delta=3.0))
    loaded = autokit.load(autokit.save(estimator, tmp_path / "model"))
    kept = getattr(loaded.loss, "_fn_kwargs", None)
    assert loaded.loss == Unsaved("Huber object") or kept == {"delta": 3.0}


def test_what_is_not_saved_is_missed_in_a_new_fit(classifier, tmp_path):
    loaded = autokit.load(autokit.save(classifier, tmp_path / "model"))
    with pytest.raises(ValueError, match="was a function build_with_everything, which autokit.s"):
        loaded.fit(X, y)
    loaded.set_params(model=build_with_everything).fit(X, y)
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    callbacks = KerasClassifier(epochs=1, callbacks=[keras.callbacks.TerminateOnNaN()])
    loaded = autokit.load(autokit.save(callbacks, tmp_path / "model"))
    with pytest.raises((AttributeError, ValueError), match="was a TerminateOnNaN object"):
        loaded.fit(X, y)
    for duplicate in (clone, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))):
        assert duplicate(loaded).callbacks == [Unsaved("TerminateOnNaN object")]


def test_layers_that_cannot_be_saved(tmp_path):
    fitted = KerasClassifier(build_with_lambda, epochs=1).fit(X, y)
    with pytest.raises(TypeError, match=r"model_ is a Keras Sequential.*'Lambda' can run foreign"):
        autokit.save(fitted, tmp_path / "model")
    fitted = KerasClassifier(build_with(Doubling), epochs=1).fit(X, y)
    with pytest.raises(TypeError, match=r"'Doubling' of module.*register_keras_serializable"):
        autokit.save(fitted, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_registered_layer_must_be_registered_to_load(tmp_path):
    fitted = KerasClassifier(build_with(Halving), epochs=1).fit(X, y)
    path = autokit.save(fitted, tmp_path / "model")
    np.testing.assert_array_equal(autokit.load(path).predict_proba(X), fitted.predict_proba(X))
    registry = keras.saving.get_custom_objects()
    halving = registry.pop("autokit_tests>Halving")
    try:
        with pytest.raises(ValueError, match="'Halving' of module .* is neither of Keras nor reg"):
            autokit.load(path)
    finally:
        registry["autokit_tests>Halving"] = halving


def keras_object(module, name, config):
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


@pytest.mark.parametrize(
    "config",
    [
        keras_object("keras.layers", "Lambda", {"function": "x"}),
        keras_object("keras.layers", "TFSMLayer", {"filepath": "/tmp/evil"}),
        keras_object("keras.layers", "TorchModuleWrapper", {}),
        keras_object("os", "system", {}),
        keras_object("builtins", "eval", {}),
        keras_object("keras.utils", "get_file", {}),
        {**keras_object("keras.utils", "function", "get_file"), "class_name": "function"},
        keras_object("keras.src.saving.saving_lib", "load_model", {}),
        keras_object("autokit.cli.__main__", "X", {}),
        keras_object("kerasevil.layers", "Dense", {}),
        keras_object("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}),
        keras_object(None, "__lambda__", {"value": "x"}),
        {**keras_object("os", "function", "system"), "registered_name": "autokit_tests>Halving"},
        {**keras_object(None, "__lambda__", {}), "registered_name": "autokit_tests>Halving"},
        keras_object("tensorflow", "__typespec__", []),
        keras_object("keras.layers", "Dense", {"units": 1, "extra": {"class_name": "Lambda"}}),
        {"class_name": ["Lambda"], "config": {}},
        keras_object("keras.layers", "Dense", {"nonsense": 1}),
    ],
    ids=lambda c: str(c["class_name"]),
)
def test_keras_configurations_that_are_refused(config):
    from autokit.persistence.decoding import Reader

    tree = {"!": "keras", "id": 0, "config": config}
    reader = Reader({})
    with pytest.raises(ValueError, match="not allowed|neither of Keras|cannot make"):
        reader.check(tree)
        reader.decode(tree)


def test_the_file_is_open_to_other_tools(classifier, tmp_path):
    path = autokit.save(classifier, tmp_path / "model")
    with np.load(path) as arrays:
        names = [name for name in arrays.files if name.startswith("arrays/")]
        assert all(isinstance(arrays[name], np.ndarray) for name in names)
        manifest = json.loads(arrays["manifest.json"])
    assert manifest["class"] == "autokit.estimators:KerasClassifier"
