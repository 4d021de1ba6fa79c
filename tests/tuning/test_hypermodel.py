from __future__ import annotations

import pickle

import keras
import keras_tuner
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autokit import KerasClassifier, KerasRegressor, TunerSearchCV
from autokit.training.hyperbuild import HyperBuild
from autokit.tuning import Categorical, Float, Int
from autokit.tuning.hypermodel import build_entries, entries_from, hyperparameters_of
from autokit.tuning.hyperparameters import plain_value
from autokit.tuning.reading import read_space

X, y = load_iris(return_X_y=True)


def build(hp):
    model = keras.Sequential([keras.Input((4,))])
    for i in range(hp.Int("layers", 1, 2)):
        model.add(keras.layers.Dense(hp.Int(f"units_{i}", 4, 12, step=4)))
    model.add(keras.layers.Dense(3, activation=hp.Choice("end", ["softmax", "linear"])))
    kind = hp.Choice("optimizer", ["adam", "sgd"])
    with hp.conditional_scope("optimizer", ["sgd"]):
        if kind == "sgd":
            rate = hp.Float("rate", 1e-3, 1.0, sampling="log")
            optimizer = keras.optimizers.SGD(rate, momentum=0.5, clipnorm=1.0)
    with hp.conditional_scope("optimizer", ["adam"]):
        if kind == "adam":
            optimizer = keras.optimizers.Adam(hp.Float("rate", 1e-3, 1e-1, step=10, sampling="log"))
    loss = keras.losses.CategoricalCrossentropy(from_logits=hp.get("end") == "linear")
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


class Hyper(keras_tuner.HyperModel):
    def build(self, hp):
        return build(hp)


def classifier(model=build, **settings):
    return KerasClassifier(model=model, epochs=1, random_state=0, **settings)


def names_of(build):
    return [hp.name for hp in hyperparameters_of(HyperBuild(build)).space]


def nothing(hp):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    model.compile()
    return model


def test_the_space_is_complete_and_named_as_parameters_of_the_model():
    entries = {e.name: e for e in build_entries(classifier())}
    assert list(entries) == [
        "model__layers",
        "model__units_0",
        "model__end",
        "model__optimizer",
        "model__rate",
        "model__rate (1)",
        "model__units_1",
    ]
    assert entries["model__layers"].dimension == Int(1, 2)
    assert entries["model__units_1"].dimension == Int(4, 12, step=4)
    assert entries["model__optimizer"].dimension == Categorical(["adam", "sgd"])
    rates = [e for e in entries.values() if e.parameter == "model__rate"]
    assert {e.when[0][1] for e in rates} == {("adam",), ("sgd",)}
    by_optimizer = {e.when[0][1][0]: e.dimension for e in rates}
    assert by_optimizer["sgd"] == Float(1e-3, 1.0, log=True)
    assert by_optimizer["adam"].labels == pytest.approx((1e-3, 1e-2, 1e-1))
    pipeline = make_pipeline(StandardScaler(), classifier())
    assert build_entries(pipeline)[0].name == "kerasclassifier__model__layers"
    assert build_entries(classifier(model=None)) == []


def test_translates_every_kind_of_hyperparameter():
    hp = keras_tuner.HyperParameters()
    hp.Fixed("fixed", 3)
    hp.Boolean("boolean")
    hp.Int("log", 1, 100, sampling="log")
    hp.Int("factor", 2, 32, step=2, sampling="log")
    hp.Float("reverse", 0.01, 1.0, sampling="reverse_log")
    hp.Choice("parent", [1, 2])
    with hp.conditional_scope("parent", [2]):
        hp.Float("child", 0.0, 1.0, step=0.25)
    entries = {e.name: e for e in entries_from(hp, "m__")}
    assert [e.dimension for e in entries.values()] == [
        Categorical([3]),
        Categorical([True, False]),
        Int(1, 100, log=True),
        Categorical([2, 4, 8, 16, 32]),
        Float(0.01, 1.0, log=True),
        Categorical([1, 2]),
        Float(0.0, 1.0, step=0.25),
    ]
    assert entries["m__child"].when == (("m__parent", (2,)),)
    reverse = entries["m__reverse"]
    assert plain_value(reverse, 0.9) == pytest.approx(0.11)
    assert reverse.parameter_value(0.11) == pytest.approx(0.9)


def test_finds_what_only_a_choice_brings_forth():
    def build(hp):
        if hp.Choice("kind", ["a", "b"]) == "b":
            for i in range(hp.Int("n", 0, 2)):
                hp.Float(f"f{i}", 0, 1)
        if hp.Boolean("more"):
            raise RuntimeError("no network can have more")
        return nothing(hp)

    assert names_of(build) == ["kind", "more", "n", "f0", "f1"]


@pytest.mark.parametrize("model", [build, Hyper()])
def test_searched_by_itself_and_the_best_can_be_read_cloned_and_pickled(model):
    found = TunerSearchCV(
        classifier(model), tuner="random", n_trials=2, cv=2, random_state=0, pruner=None
    ).fit(X, y)
    best = found.best_estimator_
    assert best.get_params()["model__layers"] == found.best_params_["model__layers"]
    assert best.model_.layers[0].units == found.best_params_["model__units_0"]
    assert clone(best).get_params()["model"] == best.model
    again = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(again.predict_proba(X), best.predict_proba(X))


def test_proposes_what_keras_tuner_alone_proposes(tmp_path):
    oracle = keras_tuner.oracles.RandomSearchOracle(max_trials=4, seed=7)
    found = TunerSearchCV(classifier(), tuner=oracle, n_trials=4, cv=2, pruner=None).fit(X, y)
    theirs = keras_tuner.oracles.RandomSearchOracle(
        objective="loss",
        max_trials=4,
        seed=7,
        hyperparameters=hyperparameters_of(HyperBuild(build)),
    )
    tuner = keras_tuner.engine.base_tuner.BaseTuner(theirs, build, directory=tmp_path)
    for params in found.cv_results_["params"]:
        values = tuner.oracle._random_values()
        values.pop("rate"), params.pop("model__rate")  # one name with two ranges, found by turns
        assert {f"model__{name}": value for name, value in values.items()} == params


def test_a_space_beside_it_adds_and_overrides():
    space = {"batch_size": [16, 32], "model__units_0": Int(5, 6)}
    entries = {e.name: e for e in read_space(space, classifier())}
    assert entries["model__units_0"].dimension == Int(5, 6)
    assert {"batch_size", "model__layers"} < set(entries)
    assert entries["model__layers"].hyperparameter is not None
    with pytest.raises(ValueError, match=r"'model__unit', which is no parameter.*model__units_0"):
        read_space({"model__unit": [3]}, classifier())


def test_goes_with_grid_search_too():
    grid = GridSearchCV(classifier(), {"model__units_0": [4, 8]}, cv=2).fit(X, y)
    assert grid.best_estimator_.model_.layers[0].units == grid.best_params_["model__units_0"]


def test_fits_with_defaults_and_compiled_settings():
    fitted = classifier().fit(X, y)
    assert fitted.model_.layers[0].units == 4
    config = fitted._config(1)
    assert type(config.optimizer) is keras.optimizers.Adam
    assert float(config.optimizer.learning_rate) == pytest.approx(1e-3)
    sgd = classifier().set_params(model__optimizer="sgd", model__rate=0.25, model__end="linear")
    config = sgd.fit(X, y)._config(1)
    assert isinstance(config.optimizer, keras.optimizers.SGD)
    assert (config.optimizer.momentum, config.optimizer.clipnorm) == (0.5, 1.0)
    assert float(config.optimizer.learning_rate) == 0.25
    assert isinstance(config.loss, keras.losses.SparseCategoricalCrossentropy)
    assert config.loss.get_config()["from_logits"]
    np.testing.assert_allclose(sgd.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


def test_what_the_estimator_is_given_wins():
    fitted = classifier(optimizer="rmsprop", learning_rate=0.5, loss="kl_divergence")
    fitted._build = lambda data, seed: None
    fitted._compiled = {"optimizer": keras.optimizers.SGD(), "loss": "mean_squared_error"}
    config = fitted._config(1)
    assert (config.optimizer, config.learning_rate) == ("rmsprop", 0.5)
    assert "kl_divergence" in str(config.loss.get_config()).lower() or config.loss.name


def test_a_refit_without_build_forgets_what_was_compiled():
    estimator = classifier().fit(X, y)
    assert estimator._compiled
    assert not estimator.set_params(model=None).fit(X, y)._compiled


def test_a_regressor_trains_with_the_compiled_loss():
    def build(hp):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(optimizer="sgd", loss=hp.Choice("loss", ["mae", "huber"]))
        return model

    regressor = KerasRegressor(model=build, epochs=1).set_params(model__loss="huber")
    assert "huber" in regressor.fit(X, X[:, 0]).training_loss().name


def test_loss_scaling_is_not_doubled():
    def build(hp):
        policy = keras.mixed_precision.DTypePolicy("mixed_float16")
        layers = [keras.Input((4,)), keras.layers.Dense(3, dtype=policy)]
        model = keras.Sequential([*layers, keras.layers.Activation("softmax", dtype="float32")])
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    assert np.isfinite(classifier(build).fit(X, y).history_["loss"][0])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda hp: None, r"<lambda>\(hp\) returned a NoneType; does it end without a return\?"),
        (lambda hp: 3, r"must build a keras.Model from hp; .* returned a int\."),
    ],
)
def test_a_build_that_returns_no_model(model, message):
    with pytest.raises(ValueError, match=message):
        TunerSearchCV(classifier(model), n_trials=2).fit(X, y)
    with pytest.raises(ValueError, match=message):
        classifier(model).fit(X, y)


def test_label_smoothing_is_refused():
    def build(hp):
        model = nothing(hp)
        model.compile(loss=keras.losses.CategoricalCrossentropy(label_smoothing=0.1))
        return model

    with pytest.raises(ValueError, match=r"label_smoothing.*leave label_smoothing out"):
        classifier(build).fit(X, y)


def test_a_function_of_shape_and_outputs_is_no_build():
    assert HyperBuild.of(lambda shape, n_outputs: None) is None
    assert HyperBuild.of(lambda shape, n_outputs=3: None) is None
    assert HyperBuild.of(lambda hp, depth=3: None) is not None
    assert HyperBuild.of(keras.Sequential()) is None
    assert HyperBuild.of(None) is None
