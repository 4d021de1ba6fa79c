"""KerasClassifier and KerasRegressor on every kind of input, with every parameter."""

from __future__ import annotations

import copy
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris

from autokit import KerasClassifier, KerasRegressor
from autokit._backend import keras
from autokit.testing.estimators import tiny
from autokit.training import programs, seeded


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def two_inputs(input_shape, n_outputs):
    ends = [keras.Input((1,)), keras.Input((1,))]
    both = keras.layers.Concatenate()(ends)
    return keras.Model(ends, keras.layers.Dense(n_outputs)(both))


class Subclass(keras.Model):
    def call(self, x):
        return x


def build(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(n_outputs, activation="softmax"),
        ]
    )


def test_learns_iris_and_gives_probabilities(iris):
    X, y = iris
    model = tiny("KerasClassifier", epochs=30).fit(X, y)
    proba = model.predict_proba(X)
    assert model.score(X, y) > 0.93
    assert proba.shape == (150, 3) and proba.dtype == np.float32
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert isinstance(model.model_, keras.Model)
    assert len(model.history_["loss"]) == 30


def test_images_default_to_a_convolutional_network():
    digits = load_digits()
    X, y = digits.images[:600], digits.target[:600]
    model = tiny("KerasClassifier", epochs=4).fit(X, y)
    assert any(isinstance(layer, keras.layers.Conv2D) for layer in model.model_.layers)
    assert model.score(X, y) > 0.8
    assert model.predict(X[:1]).shape == (1,)


def test_sequences_default_to_a_sequence_network():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 120)
    steps = np.arange(12)
    X = np.sin(steps[None] * (0.5 + y[:, None]))[..., None] + rng.normal(0, 0.1, (120, 12, 1))
    model = tiny("KerasClassifier", epochs=8).fit(X, y)
    assert any(isinstance(layer, keras.layers.Conv1D) for layer in model.model_.layers)
    assert model.score(X, y) > 0.9


def test_frames_with_texts_categories_and_missing_values():
    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame(
        {
            "age": rng.normal(50, 10, n),
            "city": rng.choice(["Rome", "Oslo", "Lima"], n),
            "grade": pd.Categorical(rng.choice(["low", "high"], n)),
            "member": rng.random(n) > 0.5,
        }
    )
    y = np.where(frame["city"] == "Oslo", "north", "south")
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "grade"] = None
    model = tiny("KerasClassifier").fit(frame, y)
    assert model.score(frame, y) > 0.95
    assert model.feature_names_in_.tolist() == list(frame)
    assert model.classes_.tolist() == ["north", "south"]
    unseen = frame.assign(city="Atlantis")
    assert np.isfinite(model.predict_proba(unseen)).all()


def test_regression_with_one_target_and_with_several():
    X, y = load_diabetes(return_X_y=True)
    model = tiny("KerasRegressor", epochs=20, learning_rate=0.003).fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.score(X, y) > 0.4
    both = np.stack([y, 1000 - 2 * y], axis=1)
    double = tiny("KerasRegressor", epochs=20, learning_rate=0.003).fit(X, both)
    assert double.predict(X).shape == both.shape
    assert double.score(X, both) > 0.4


@pytest.mark.parametrize("loss", [None, "mean_absolute_error", keras.losses.Huber()])
def test_regression_losses(loss):
    X, y = load_diabetes(return_X_y=True)
    model = tiny("KerasRegressor", loss=loss).fit(X, y)
    assert model.history_["loss"][-1] < model.history_["loss"][0]


def test_a_model_is_a_starting_point_and_stays_untouched(iris):
    X, y = iris
    start = build((4,), 3)
    before = start.get_weights()
    first = tiny("KerasClassifier", model=start).fit(X, y)
    again = tiny("KerasClassifier", model=start).fit(X, y)
    assert all(np.array_equal(a, b) for a, b in zip(before, start.get_weights(), strict=True))
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    kept = tiny("KerasClassifier", model=start, learning_rate=1e-12, epochs=1).fit(X, y)
    np.testing.assert_allclose(kept.predict_proba(X), start(X.astype("float32")), atol=1e-5)


def test_a_function_builds_the_model(iris):
    X, y = iris
    seen = []

    def recorded(input_shape, n_outputs):
        seen.append((input_shape, n_outputs))
        return build(input_shape, n_outputs)

    model = tiny("KerasClassifier", model=recorded, epochs=30).fit(X, y)
    assert seen == [((4,), 3)]
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("activation", ["softmax", "linear"])
def test_outputs_may_be_probabilities_or_logits(iris, activation):
    X, y = iris
    with_head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation=activation)])
    model = tiny("KerasClassifier", model=with_head, epochs=40).fit(X, y)
    assert model.output_activation_ == {"softmax": None, "linear": "softmax"}[activation]
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize("activation", ["sigmoid", "linear"])
def test_binary_models_with_one_output(iris, activation):
    X, y = iris[0][:100], np.repeat(["a", "b"], 50)
    with seeded(0):  # a model that is given as it is keeps the weights it has
        head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation=activation)])
    model = tiny("KerasClassifier", model=head, epochs=20).fit(X, y)
    assert model.predict_proba(X).shape == (100, 2)
    assert model.score(X, y) > 0.95
    assert model.history_["accuracy"][-1] > 0.9


def test_early_stopping_holds_out_rows_and_keeps_the_best(iris):
    X, y = iris
    model = tiny("KerasClassifier", epochs=400, early_stopping=3, learning_rate=0.05).fit(X, y)
    assert len(model.history_["val_loss"]) < 400
    plain = tiny("KerasClassifier", epochs=2).fit(X, y)
    assert "val_loss" not in plain.history_
    watched = tiny("KerasClassifier", epochs=2, validation_fraction=0.2).fit(X, y)
    assert len(watched.history_["val_accuracy"]) == 2


def test_class_weight_moves_the_decision(iris):
    X, y = iris[0][50:, :1], iris[1][50:]
    plain = tiny("KerasClassifier").fit(X, y)
    pulled = tiny("KerasClassifier", class_weight={1: 20.0, 2: 1.0}).fit(X, y)
    assert (pulled.predict(X) == 1).sum() > (plain.predict(X) == 1).sum()


def test_zero_weight_rows_are_absent(iris):
    X, y = iris
    weight = (y != 2).astype(float)
    model = tiny("KerasClassifier").fit(X, y, sample_weight=weight)
    without = tiny("KerasClassifier").fit(X[y != 2], y[y != 2])
    assert model.classes_.tolist() == [0, 1]
    np.testing.assert_allclose(model.predict_proba(X), without.predict_proba(X), rtol=1e-6)


def test_partial_fit_goes_on_where_it_was(iris):
    X, y = iris
    model = tiny("KerasClassifier", batch_size=150)
    for _ in range(40):
        model.partial_fit(X, y, classes=[0, 1, 2, 3])
    assert model.predict_proba(X).shape == (150, 4)
    assert model.score(X, y) > 0.85
    assert len(model.history_["loss"]) == 40
    copied = pickle.loads(pickle.dumps(model))
    model.partial_fit(X, y)
    copied.partial_fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), copied.predict_proba(X))
    regressor = tiny("KerasRegressor").partial_fit(X, X[:, :2]).partial_fit(X, X[:, :2])
    assert regressor.predict(X).shape == (150, 2)


def test_partial_fit_after_fit_continues(iris):
    X, y = iris
    model = tiny("KerasClassifier", epochs=3).fit(X, y)
    before = model.history_["loss"][-1]
    model.partial_fit(X, y)
    assert len(model.history_["loss"]) == 4
    assert model.history_["loss"][-1] < before


def test_fit_starts_afresh_and_the_seed_decides(iris):
    X, y = iris
    model = tiny("KerasClassifier")
    first = model.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(first, model.fit(X, y).predict_proba(X))
    assert not np.array_equal(
        first, clone(model).set_params(random_state=1).fit(X, y).predict_proba(X)
    )


def test_a_second_fit_does_not_trace(iris, monkeypatch):
    X, y = iris
    tiny("KerasClassifier", batch_size=17).fit(X, y)
    monkeypatch.setattr(
        programs.Program, "_trace_train", lambda *_: pytest.fail("traced a known architecture")
    )
    tiny("KerasClassifier", learning_rate=0.3, epochs=2).fit(X, y)


@pytest.mark.parametrize("way", ["pickle", "deepcopy", "joblib"])
def test_copies_predict_alike(iris, way):
    X, y = iris
    model = tiny("KerasClassifier").fit(X, y)
    expected = model.predict_proba(X)
    if way == "pickle":
        copied = pickle.loads(pickle.dumps(model))
    elif way == "deepcopy":
        copied = copy.deepcopy(model)
    else:
        buffer = io.BytesIO()
        joblib.dump(model, buffer)
        buffer.seek(0)
        copied = joblib.load(buffer)
    np.testing.assert_array_equal(copied.predict_proba(X), expected)
    assert copied.model_ is not model.model_
    assert not hasattr(clone(model), "model_")


def test_callbacks_and_tensorboard(iris, tmp_path):
    X, y = iris
    board = keras.callbacks.TensorBoard(tmp_path)
    tiny("KerasClassifier", epochs=2, callbacks=board).fit(X, y)
    assert list(tmp_path.rglob("events*"))


def test_progress_bar(iris, capsys):
    X, y = iris
    tiny("KerasClassifier", epochs=2, verbose=1).fit(X, y)
    assert "2/2" in capsys.readouterr().out


def test_optimizer_instances_and_schedules(iris):
    X, y = iris
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
    optimizer = keras.optimizers.AdamW(weight_decay=0.01, clipnorm=1.0)
    model = tiny("KerasClassifier", epochs=30, optimizer=optimizer, learning_rate=schedule).fit(
        X, y
    )
    assert model.score(X, y) > 0.9
    assert not optimizer.built


NAN, INF = np.nan, np.inf
X3, Y3 = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.arange(6.0), Y3, "Reshape your data"),
        ([[1, 2], [3]], Y3[:2], "ragged"),
        (X3, [0, 1, NAN, 1, 0, 1], "y contains NaN"),
        (X3, [0, 1, INF, 1, 0, 1], "y contains infinity"),
        (np.where(X3 == 3, INF, X3), Y3, "X contains infinity"),
        (X3, np.zeros(6, int), "y has one class, 0.*at least two classes"),
        (np.empty((0, 2)), [], "0 sample"),
        (np.empty((6, 0)), Y3, "0 feature"),
        (X3, Y3[:4], "inconsistent numbers of samples"),
        (X3, None, "y"),
        (np.where(np.arange(48).reshape(6, 2, 4) == 5, NAN, 1.0), Y3, "NaN"),
        (X3, X3[:, 0] + 0.5, "Unknown label type"),
    ],
    ids=[
        "rank", "ragged", "nan-y", "inf-y", "inf-x", "one-class", "empty", "no-columns",
        "lengths", "no-y", "nan-sequence", "continuous",
    ],
)  # fmt: skip
def test_bad_data(X, y, message):
    with pytest.raises(ValueError, match=message) as caught:
        tiny("KerasClassifier").fit(X, y)
    assert "\n" not in str(caught.value).strip()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epochs": 0}, "'epochs' parameter of KerasClassifier.*Got 0"),
        ({"batch_size": 2.5}, "'batch_size' parameter"),
        ({"optimizer": "adaam"}, "'optimizer' parameter.*'adam'"),
        ({"learning_rate": -1.0}, "'learning_rate' parameter"),
        ({"validation_fraction": 1.5}, "'validation_fraction' parameter"),
        ({"class_weight": {"x": 1}}, "'class_weight' parameter names the class 'x'"),
        ({"model": "resnet"}, "'model' parameter"),
        ({"model": lambda shape, n: None}, "'model' parameter must build.*NoneType"),
        ({"model": build((3,), 2)}, r"takes rows of shape \(3,\), but X has rows of shape \(2,\)"),
        ({"model": build((2,), 5)}, "ends in 5 outputs, but y needs 2"),
        ({"model": two_inputs}, "has 2 inputs, and X is one array"),
        ({"model": lambda shape, n: Subclass()}, "is a Subclass.*build a keras.Sequential"),
        ({"loss": "cross"}, "cross"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        tiny("KerasClassifier", **parameters).fit(X3, Y3)


def test_bad_input_at_predict(iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = tiny("KerasClassifier", epochs=1).fit(frame, y)
    with pytest.raises(ValueError, match="now missing:\n- d"):
        model.predict(frame.drop(columns="d"))
    with pytest.raises(ValueError, match="must be in the same order"):
        model.predict(frame[list("dcba")])
    with pytest.raises((TypeError, ValueError), match="'a'.*number"):
        model.predict(frame.assign(a="tall"))
    with pytest.raises(ValueError, match="was fitted with classes|not in fit"):
        model.partial_fit(frame, y + 7)


def test_divergence_names_the_cure(iris):
    X, y = iris
    with pytest.raises(FloatingPointError, match="'learning_rate'"):
        KerasClassifier(model=build, optimizer="sgd", learning_rate=1e38, epochs=3).fit(X, y)


def test_regressor_refuses_text_targets():
    with pytest.raises(ValueError, match="y must hold numbers"):
        KerasRegressor(epochs=1).fit(X3, list("abcabc"))
