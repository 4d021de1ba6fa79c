from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.layers.mixed import MixedOperation

X = np.random.default_rng(0).normal(size=(5, 6, 6, 3)).astype("float32")


def convolution(width=3):
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(width, 3, padding="same")(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization()(x))


def operations():
    pool = keras.layers.AveragePooling2D(3, 1, padding="same")
    return [None, keras.layers.Identity(), convolution(), pool]


def test_floats_give_the_weighted_sum_of_the_operations():
    parts = operations()
    weights = np.array([0.4, 0.3, -0.2, 0.5], "float32")
    expected = sum(
        w * np.asarray(part(X)) for w, part in zip(weights, parts, strict=True) if part is not None
    )
    np.testing.assert_allclose(MixedOperation(parts)(X, weights), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("choice", [1, 2, 3])
def test_an_integer_gives_one_operation(choice):
    parts = operations()
    mixed = MixedOperation(parts)
    np.testing.assert_allclose(
        mixed(X, np.int32(choice), training=True), parts[choice](X, training=True), rtol=1e-6
    )


@pytest.mark.parametrize("choice", [0, 4])
def test_none_and_an_edge_left_out_give_zeros(choice):
    np.testing.assert_array_equal(MixedOperation(operations())(X, np.int32(choice)), 0 * X)


def test_a_choice_is_made_in_the_graph_and_has_its_gradients():
    mixed, n_traces = MixedOperation(operations()), []
    mixed(X, np.int32(0))

    @tf.function(autograph=False)
    def gradients(choice):
        n_traces.append(1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(mixed(X, choice, training=True) ** 2)
        return tape.gradient(
            loss, mixed.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    touched = [any(np.any(g != 0) for g in gradients(tf.constant(c))) for c in range(5)]
    assert touched == [False, False, True, False, False]
    assert len(n_traces) == 1


@pytest.mark.parametrize("mixture", [np.ones(4, "float32"), np.int32(2)])
def test_moving_statistics_stay_as_they_were(mixture):
    mixed = MixedOperation(operations())
    mixed(X, mixture)
    before = [np.array(v) for v in mixed.non_trainable_variables]
    mixed(X, mixture, training=True)
    np.testing.assert_array_equal(
        np.concatenate(before), np.concatenate([np.array(v) for v in mixed.non_trainable_variables])
    )


def test_a_model_with_it_can_be_saved(tmp_path):
    rows, mixture = keras.Input((6, 6, 3)), keras.Input(batch_shape=(4,))
    model = keras.Model([rows, mixture], MixedOperation(operations())(rows, mixture))
    model.save(tmp_path / "mixed.keras")
    again = keras.models.load_model(tmp_path / "mixed.keras")
    weights = np.array([0.1, 0.2, 0.3, 0.4], "float32")
    np.testing.assert_allclose(again([X, weights]), model([X, weights]), rtol=1e-6)


def test_operations_must_agree_in_shape():
    with pytest.raises(ValueError, match="must have one output shape; got .*6, 6, 3.*6, 6, 8"):
        MixedOperation([keras.layers.Identity(), convolution(8)])(X, np.ones(2, "float32"))


def test_one_operation_at_least_is_a_layer():
    with pytest.raises(ValueError, match="at least one layer; got 2 times None"):
        MixedOperation([None, None])
