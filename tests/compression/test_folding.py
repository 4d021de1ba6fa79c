from __future__ import annotations

import numpy as np
import pytest

from autokit import layers
from autokit._backend import keras
from autokit.compression.folding import folded
from autokit.layers import copied

L = keras.layers


def _wild(model):
    """Statistics, scales and offsets far from what they are at the start."""
    rng = np.random.default_rng(1)
    for v in model.variables:
        name = v.path.rsplit("/", 1)[-1]
        if name in ("gamma", "beta", "bias", "moving_mean"):
            v.assign(rng.normal(size=v.shape))
        elif name == "moving_variance":
            v.assign(rng.uniform(0.05, 4.0, v.shape))
    return model


def _kinds(model):
    return [type(layer).__name__ for layer in model.layers]


def _assert_same(model, shape, n_normalizations=0):
    got = folded(copied(model))
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype("float32")
    expected = np.asarray(model(x))
    np.testing.assert_allclose(got(x), expected, atol=2e-5 * np.abs(expected).max())
    assert _kinds(got).count("BatchNormalization") == n_normalizations
    assert not any("Separable" in kind for kind in _kinds(got))
    return got


@pytest.mark.parametrize("block", ["plain", "residual", "separable", "inverted"])
def test_every_block_of_ours_is_folded_to_the_same_function(block):
    shape = (8, 8, 3)
    model = layers.cnn(shape, 4, block=block, stem_width=4, widths=(4, 8), activation="relu")
    _assert_same(_wild(model), shape)


def test_dense_and_one_dimensional_convolutions():
    model = layers.mlp((6,), 3, widths=(8, 5), normalization="batch")
    _assert_same(_wild(model), (6,))
    model = keras.Sequential(
        [
            keras.Input((12, 3)),
            L.Conv1D(4, 3, padding="causal"),
            L.BatchNormalization(scale=False),
            L.ReLU(),
            L.SeparableConv1D(5, 3, depth_multiplier=2, activation="tanh"),
            L.DepthwiseConv1D(3, depth_multiplier=2, use_bias=False),
            L.BatchNormalization(center=False),
            L.SeparableConv1D(5, 3, strides=2),
            L.BatchNormalization(),
        ]
    )
    assert "Activation" in _kinds(_assert_same(_wild(model), (12, 3)))


def test_strides_dilation_and_channel_multipliers_of_depthwise_convolutions():
    inputs = keras.Input((9, 9, 3))
    x = L.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same")(inputs)
    x = L.BatchNormalization()(x)
    x = L.SeparableConv2D(4, 3, dilation_rate=2, depth_multiplier=3, padding="same")(x)
    x = L.BatchNormalization()(x)
    _assert_same(_wild(keras.Model(inputs, x)), (9, 9, 3))


def test_what_cannot_be_folded_stays():
    inputs = keras.Input((8, 8, 3))
    shared, after = L.Conv2D(3, 3, padding="same"), L.BatchNormalization()
    x = L.BatchNormalization()(inputs)  # nothing before it
    x = after(shared(shared(x)))  # called twice
    y = L.Conv2D(3, 1)(x)
    x = L.Add()([L.BatchNormalization()(y), y])  # another layer takes the convolution too
    x = L.BatchNormalization()(L.Conv2D(3, 1, activation="relu")(x))  # not linear
    x = L.BatchNormalization(axis=1)(L.Conv2D(3, 1)(x))  # another axis
    _assert_same(_wild(keras.Model(inputs, x)), (8, 8, 3), n_normalizations=5)


def test_activations_that_are_not_fused_become_layers():
    inputs = keras.Input((4,))
    x = L.Dense(5, activation="gelu")(L.Dense(5, activation="relu")(inputs))
    model = keras.Model(inputs, L.Dense(3, activation="softmax")(x))
    got = _assert_same(model, (4,))
    assert [getattr(x.activation, "__name__", "") for x in got.layers[1:]] == [
        "relu",
        "linear",
        "gelu",
        "linear",
        "softmax",
    ]


def test_the_product_of_lora_is_taken_up():
    inputs = keras.Input((4,))
    dense = L.Dense(5)
    model = keras.Model(inputs, dense(inputs))
    dense.enable_lora(2)
    for v in model.variables:
        v.assign(np.random.default_rng(0).normal(size=v.shape))
    got = folded(model)
    x = np.ones((2, 4), "float32")
    np.testing.assert_allclose(got(x), model(x), rtol=1e-5)
    assert len(got.variables) == 2
