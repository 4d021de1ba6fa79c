"""What cannot be: one clear ValueError that names the argument, what was got and the cure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from autokit._backend import keras
from autokit.meta import (
    FOMAML,
    MAML,
    FewShotLearner,
    FewShotRegressor,
    FineTune,
    Matching,
    MetaLearner,
    Prototypical,
    Reptile,
)
from autokit.testing.meta import blobs, tiny_encoder

SETTINGS = {"encoder": tiny_encoder, "n_way": 3, "n_query": 2, "n_episodes": 2, "random_state": 0}
X, Y = blobs(range(6), 8, 0)


@pytest.fixture(scope="module")
def learner():
    return FewShotLearner(**SETTINGS).fit(X, Y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_way": 7}, "n_way is 7, but y has 6 classes to draw from; lower n_way"),
        ({"k_shot": 7}, r"k_shot \+ n_query is 7 \+ 2 = 9, but the class 0 of y has 8 samples"),
        ({"n_way": 1}, "'n_way' parameter of FewShotLearner must be an int in the range"),
        ({"n_query": 0}, "'n_query' parameter of FewShotLearner"),
        ({"n_episodes": 0}, "'n_episodes' parameter of FewShotLearner"),
        ({"meta_batch_size": 0}, "'meta_batch_size' parameter"),
        ({"inner_steps": 0}, "'inner_steps' parameter of FewShotLearner must be .* Got 0"),
        ({"inner_learning_rate": 0.0}, "'inner_learning_rate' parameter"),
        ({"outer_learning_rate": -1.0}, "'outer_learning_rate' parameter"),
        ({"adaptation_steps": 0}, "'adaptation_steps' parameter"),
        ({"first_order": "yes"}, "'first_order' parameter"),
        ({"distance": "manhattan"}, "'distance' parameter"),
        ({"augment": "flips"}, "'augment' parameter"),
        ({"validation_fraction": 1.0}, "'validation_fraction' parameter"),
        ({"early_stopping": 0}, "'early_stopping' parameter"),
        ({"method": "mammal"}, "'method' parameter of FewShotLearner .* Got 'mammal'"),
        ({"method": None}, "'method' parameter"),
        ({"method": MAML}, r"'method' parameter is the class MAML; give an instance of it, MAML()"),
        ({"method": MAML(inner_steps=0)}, "'inner_steps' parameter of MAML must be"),
        ({"method": FOMAML(adaptation_steps=0)}, "'adaptation_steps' parameter of FOMAML"),
        ({"method": Reptile(inner_shots=0)}, "'inner_shots' parameter of Reptile"),
        ({"method": Prototypical(temperature=0.0)}, "'temperature' parameter of Prototypical"),
        ({"method": Matching(temperature=None)}, "'temperature' parameter of Matching"),
        ({"method": FineTune(head="none")}, "'head' parameter of FineTune"),
        (
            {"method": MAML(), "inner_steps": 2},
            r"'inner_steps' parameter is given beside a method .* method=MAML\(inner_steps=...\)",
        ),
        ({"method": Prototypical(), "distance": "cosine"}, "'distance' parameter is given beside"),
        (
            {"augment": "rotations"},
            r"'augment' parameter is 'rotations', .* and shape \(8,\); set augment=None",
        ),
        (
            {"validation_fraction": 0.7},
            r"n_way is 3, but the part of y that is trained on \(4 held out\) has 2 classes",
        ),
        (
            {"early_stopping": True, "validation_fraction": 0.0},
            "'early_stopping' parameter is True, but validation_fraction=0.0 holds nothing out",
        ),
    ],
)
def test_a_wrong_parameter_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        FewShotLearner(**SETTINGS | settings).fit(X, Y)


def test_held_out_classes_of_too_few_rows_are_named():
    keep = np.concatenate([np.flatnonzero(Y == k)[: 8 if k else 2] for k in range(6)])
    for seed in range(4):  # which classes are held out is chance
        settings = {"validation_fraction": 0.4, "random_state": seed}
        with pytest.raises(ValueError, match="the class 0 of the part of y .* has 2 samples"):
            FewShotLearner(**SETTINGS | settings).fit(X[keep], Y[keep])


def frozen(shape):
    network = tiny_encoder(shape)
    network.trainable = False
    return network


def two_outputs(shape):
    inputs = keras.Input(shape)
    return keras.Model(inputs, [keras.layers.Dense(3)(inputs), keras.layers.Dense(2)(inputs)])


def half(shape):
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(3, dtype="float16")])


class Unregistered(keras.layers.Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], 4))

    def call(self, inputs):
        return inputs @ self.kernel


def unregistered(shape):
    return keras.Sequential([keras.Input(shape), Unregistered()])


@keras.saving.register_keras_serializable("tests")
class Hiding(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.dense, self.norm = keras.layers.Dense(4), keras.layers.BatchNormalization()

    def call(self, inputs):
        return self.norm(self.dense(inputs))

    def get_config(self):
        return {}


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("mlp", "'encoder' parameter of FewShotLearner must be"),
        (lambda shape: 3, "must build a keras.Model from input_shape; it returned a int"),
        (frozen, "'encoder' parameter has no trainable weights, .* set trainable=True"),
        (two_outputs, "'encoder' parameter has 2 outputs; give a model whose one output"),
        (half, "'encoder' parameter computes in float16"),
        (lambda shape: tiny_encoder((7,)), r"rows of shape \(7,\), but X has rows of shape \(8,\)"),
        (tiny_encoder((4, 2)), r"rows of shape \(4, 2\), but X has rows of shape \(8,\)"),
        (unregistered, "'encoder' parameter cannot be copied, .*register_keras_serializable"),
        (lambda shape: Hiding(), "batch normalisation inside a layer or model of your own"),
    ],
)
@pytest.mark.parametrize("method", ["prototypical", "maml"])
def test_a_wrong_encoder_is_named(encoder, message, method):
    with pytest.raises(ValueError, match=message):
        FewShotLearner(method, **SETTINGS | {"encoder": encoder}).fit(X, Y)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (X, None, "requires y to be passed, but the target y is None"),
        (X, Y[:-1], "X has 48, y has 47"),
        (X, np.zeros(48, int), "y has one class, 0, but FewShotLearner needs at least two"),
        (X, np.linspace(0, 1, 48), "Unknown label type: continuous"),
        (np.full((48, 4, 4), np.nan, np.float32), Y, "Input X contains NaN"),
        (np.full((48, 2), np.inf), Y, "infinity"),
        (X[0], Y[:8], "Reshape your data with X.reshape"),
    ],
)
def test_wrong_rows_and_labels_are_named(X, y, message):
    with pytest.raises(ValueError, match=message):
        FewShotLearner(**SETTINGS).fit(X, y)


def test_a_wrong_support_set_is_named(learner):
    for rows, labels, message in (
        (X[:3], Y[:3], "y has one class, 0, but FewShotLearner needs at least two classes"),
        (X[:3, :5], [0, 1, 2], "X has 5 features, but FewShotLearner is expecting 8"),
        (X[:3], [0, 1], "X has 3, y has 2; pass one of each for every row"),
        (X[:3], None, "y must be an array with one entry for each row, got None"),
        (X[:0], [], "0 sample"),
    ):
        with pytest.raises(ValueError, match=message):
            learner.adapt(rows, labels)
    with pytest.raises(ValueError, match="X has 5 features"):
        learner.predict(X[:3, :5])


def test_wrong_episodes_are_named(learner):
    new = Y + 100
    for settings, message in (
        ({"n_episodes": 0}, "n_episodes must be an int of at least 1; got 0"),
        ({"n_episodes": 2.5}, "n_episodes must be an int of at least 1; got 2.5"),
        ({"n_way": 1}, "n_way must be an int of at least 2; got 1"),
        ({"k_shot": True}, "k_shot must be an int of at least 1; got True"),
        ({"n_way": 7}, "n_way is 7, but y has 6 classes"),
        ({"n_query": 8}, r"k_shot \+ n_query is 1 \+ 8 = 9, but the class 100 of y has 8 samples"),
    ):
        with pytest.raises(ValueError, match=message):
            learner.evaluate(X, new, **settings)
    with pytest.raises(ValueError, match="n_way is 3, but y has 2 classes to draw from"):
        learner.evaluate(X[:16], new[:16])


def test_what_is_not_fitted_says_so():
    for call in (
        lambda m: m.predict(X),
        lambda m: m.adapt(X, Y),
        lambda m: m.fit_classes(X, Y),
        lambda m: m.evaluate(X, Y),
    ):
        with pytest.raises(NotFittedError):
            call(FewShotLearner(**SETTINGS))


def test_what_a_method_lacks_is_not_implemented():
    with pytest.raises(NotImplementedError):
        FewShotLearner(MetaLearner(), **SETTINGS).fit(X, Y)
    with pytest.raises(ValueError, match="Prototypical compares classes and cannot learn numbers"):
        FewShotRegressor(Prototypical(), k_shot=2, n_query=2).fit(X, X[:, 0])
