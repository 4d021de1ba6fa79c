"""Output layers that grow."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.continual.network import (
    capacity,
    cut,
    features_of,
    head_of,
    placed,
    resized,
    with_linear_head,
    with_units,
)
from autokit.training import seeded

ROWS = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def sequential(*last):
    with seeded(0):
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "tanh"), *last])


def functional(activation=None):
    with seeded(0):
        inputs = keras.Input((4,))
        hidden = keras.layers.BatchNormalization()(keras.layers.Dense(6, "tanh")(inputs))
        return keras.Model(inputs, keras.layers.Dense(3, activation=activation)(hidden))


def dense(activation=None):
    with seeded(1):
        return keras.layers.Dense(3, activation=activation)


MODELS = [lambda: sequential(dense()), functional]


@pytest.mark.parametrize("make", MODELS)
def test_old_units_answer_as_before_in_their_new_places(make):
    model, places = make(), np.array([4, 0, 2])
    wide = resized(model, 5, places, seed=3)
    np.testing.assert_array_equal(wide(ROWS).numpy()[:, places], model(ROWS).numpy())
    assert np.ptp(wide(ROWS).numpy()[:, [1, 3]]) > 0


def test_new_weights_come_from_the_seed():
    model, places = functional(), np.arange(3)
    one, same, other = (resized(model, 5, places, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one(ROWS), same(ROWS))
    assert np.abs(one(ROWS) - other(ROWS))[:, 3:].max() > 1e-3


@pytest.mark.parametrize("make", MODELS)
def test_some_units_alone(make):
    model = make()
    np.testing.assert_allclose(
        with_units(model, np.array([2, 0]))(ROWS), model(ROWS).numpy()[:, [2, 0]], atol=1e-6
    )


def test_units_of_a_model_without_a_dense_end():
    inputs = keras.Input((4,))
    both = keras.layers.Concatenate()(
        [keras.layers.Dense(2)(inputs), keras.layers.Dense(3)(inputs)]
    )
    model = keras.Model(inputs, both)
    assert head_of(model) is None
    part = with_units(model, np.array([1, 4]))
    np.testing.assert_array_equal(part(ROWS), model(ROWS).numpy()[:, [1, 4]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: sequential(dense("softmax")),
        lambda: functional("softmax"),
        lambda: sequential(dense(), keras.layers.Softmax()),
        lambda: sequential(dense(), keras.layers.Activation("softmax")),
    ],
)
def test_probabilities_become_logits(make):
    model = make()
    logits = with_linear_head(model)
    assert isinstance(head_of(logits), keras.layers.Dense)
    np.testing.assert_allclose(keras.ops.softmax(logits(ROWS)), model(ROWS), atol=1e-6)
    assert np.abs(logits(ROWS).numpy().sum(axis=1) - 1).max() > 1e-2


def test_a_linear_head_is_left_alone():
    model = functional()
    assert with_linear_head(model) is model


@pytest.mark.parametrize(
    "make", [lambda: sequential(keras.layers.Dropout(0.5)), lambda: keras.Sequential()]
)
def test_a_model_without_a_dense_end_is_refused(make):
    with pytest.raises(ValueError, match="ends in a Dense layer"):
        with_linear_head(make())


def test_placed_and_cut():
    value = np.array([[1.0, 2.0]])
    np.testing.assert_array_equal(placed(value, (1, 3), np.array([2, 0])), [[2, 0, 1]])
    np.testing.assert_array_equal(placed(value, (1, 3), np.array([0, 2]), np.nan), [[1, np.nan, 2]])
    assert placed(value, (1, 2), np.array([1, 0])) is value
    np.testing.assert_array_equal(cut(np.arange(4.0), (2,)), [0, 1])


def test_capacity_doubles_from_sixteen():
    assert [capacity(n) for n in (1, 16, 17, 32, 33, 100)] == [16, 16, 32, 32, 64, 128]


@pytest.mark.parametrize("make", MODELS)
def test_features_are_what_enters_the_output_layer(make):
    model = make()
    kernel, bias = (v.numpy() for v in head_of(model).variables)
    found = features_of(model)(ROWS).numpy()
    np.testing.assert_allclose(found @ kernel + bias, model(ROWS).numpy(), atol=1e-5)


def test_a_model_without_an_output_layer_is_its_own_features():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Activation("tanh")])
    assert features_of(model) is model
