from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.layers import copied
from autokit.layers.fake_quant import (
    FAKE_QUANT_OF,
    PLAIN_OF,
    FakeQuantDense,
    FakeQuantRange,
    fake_quantized,
)

rng = np.random.default_rng(0)


@pytest.mark.parametrize(("bits", "most"), [(8, 127), (4, 7)])
def test_weights_are_whole_steps_of_a_scale_a_channel(bits, most):
    kernel = rng.normal(size=(3, 3, 4, 5)).astype("float32") * np.logspace(-3, 1, 5)
    kernel = kernel.astype("float32")
    rounded = np.asarray(fake_quantized(tf.constant(kernel), bits, (3,)))
    scale = np.abs(kernel).max(axis=(0, 1, 2)) / most
    steps = rounded / scale
    np.testing.assert_allclose(steps, np.round(kernel / scale), atol=1e-4)
    assert np.abs(steps).max() == pytest.approx(most)


def test_zeros_stay_zeros_and_a_channel_of_zeros_too():
    kernel = rng.normal(size=(6, 3)).astype("float32")
    kernel[::2] = 0
    kernel[:, 1] = 0
    rounded = np.asarray(fake_quantized(tf.constant(kernel), 8, (1,)))
    assert (rounded[kernel == 0] == 0).all()
    assert np.isfinite(rounded).all()


def test_gradients_of_weights_go_straight_through():
    kernel = tf.Variable(rng.normal(size=(6, 3)).astype("float32"))
    weights = tf.constant(rng.normal(size=(6, 3)).astype("float32"))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(weights * fake_quantized(kernel, 4, (1,)))
    np.testing.assert_array_equal(tape.gradient(loss, kernel), weights)


def test_activations_are_rounded_and_clipped_and_so_are_their_gradients():
    layer = FakeQuantRange()
    layer.build((None, 5))
    layer.set_range(-1.0, 3.0)
    x = tf.constant([[-2.0, -0.51, 0.0, 1.234, 5.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    step = 4 / 255
    np.testing.assert_allclose(y / step, np.round(y / step), atol=1e-3)
    assert float(y[0, 2]) == 0.0
    np.testing.assert_allclose(y, np.clip(x, -64 * step, 191 * step), atol=step / 2 + 1e-6)
    np.testing.assert_array_equal(tape.gradient(y, x), [[0, 1, 1, 1, 0]])


def test_a_range_follows_the_batches_in_training_alone():
    layer = FakeQuantRange(momentum=0.9)
    layer.build((None, 2))
    layer.set_range(-1.0, 1.0)
    layer(tf.constant([[-3.0, 5.0]]))
    assert (float(layer.low), float(layer.high)) == (-1.0, 1.0)
    layer(tf.constant([[-3.0, 5.0]]), training=True)
    assert float(layer.low) == pytest.approx(0.9 * -1 + 0.1 * -3)
    assert float(layer.high) == pytest.approx(0.9 * 1 + 0.1 * 5)
    layer(tf.constant([[2.0, 5.0]]), training=True)
    assert float(layer.low) == pytest.approx(0.9 * -1.2)  # zero is in every range


def test_a_fixed_range_stands_still():
    layer = FakeQuantRange(fixed=(0.0, 255 / 256))
    layer(tf.constant([[0.5, 9.0]]), training=True)
    assert (float(layer.low), float(layer.high)) == (0.0, 255 / 256)


@pytest.mark.parametrize("seen", [(0.0, 0.0), (2.0, 2.0), (-3.0, -2.0)])
def test_a_range_without_extent_is_mended(seen):
    layer = FakeQuantRange()
    layer.build((None, 1))
    layer.set_range(*seen)
    assert layer.low <= 0 < layer.high
    assert np.isfinite(layer(tf.constant([[seen[0]]]))).all()


_SETTINGS = {
    "Dense": ({"units": 4}, (None, 6)),
    "Conv1D": ({"filters": 4, "kernel_size": 3, "padding": "causal"}, (None, 8, 3)),
    "Conv2D": ({"filters": 4, "kernel_size": 3, "strides": 2}, (None, 8, 8, 3)),
    "DepthwiseConv1D": ({"kernel_size": 3, "depth_multiplier": 2}, (None, 8, 3)),
    "DepthwiseConv2D": ({"kernel_size": 3, "depth_multiplier": 2}, (None, 8, 8, 3)),
}


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", list(FAKE_QUANT_OF))
def test_a_layer_computes_what_the_plain_one_does_with_rounded_weights(kind, use_bias):
    settings, shape = _SETTINGS[kind.__name__]
    layer = FAKE_QUANT_OF[kind](**settings, activation="relu", use_bias=use_bias, bits=4)
    layer.build(shape)
    if use_bias:
        layer.bias.assign(rng.normal(size=layer.bias.shape))
    config = layer.get_config()
    assert config.pop("bits") == 4
    plain = PLAIN_OF[type(layer)].from_config(config)
    plain.build(shape)
    plain.set_weights([layer.rounded_kernel(), *layer.get_weights()[1:]])
    x = tf.constant(rng.normal(size=(2, *shape[1:])).astype("float32"))
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-6)
    assert not np.allclose(layer.kernel, layer.rounded_kernel())
    values = layer.rounded_kernel().numpy().reshape(-1, layer.kernel.shape[-1])
    assert len(np.unique(np.round(values / np.abs(values).max(axis=0) * 7))) <= 15


def test_training_reaches_kernel_and_bias_and_works_in_half_precision():
    inputs = keras.Input((3,))
    policy = keras.DTypePolicy("mixed_float16")
    x = FakeQuantRange(dtype=policy)(inputs)
    model = keras.Model(inputs, FakeQuantDense(2, dtype=policy)(x))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(tf.ones((4, 3)), training=True) ** 2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert len(gradients) == 2
    assert all(float(tf.reduce_sum(tf.abs(g))) > 0 for g in gradients)
    assert model(tf.ones((4, 3))).dtype == tf.float16


def test_a_model_is_rebuilt_from_its_configuration():
    inputs = keras.Input((8, 8, 2))
    x = FakeQuantRange()(inputs)
    for kind in (FAKE_QUANT_OF[keras.layers.Conv2D], FAKE_QUANT_OF[keras.layers.DepthwiseConv2D]):
        x = kind(**_SETTINGS[PLAIN_OF[kind].__name__][0], bits=4)(x)
    model = keras.Model(inputs, FakeQuantRange(fixed=(-1.0, 1.0))(x))
    model.layers[1].set_range(-2.0, 3.0)
    x = tf.constant(rng.normal(size=(2, 8, 8, 2)).astype("float32"))
    np.testing.assert_array_equal(copied(model)(x), model(x))


def test_a_range_that_does_not_shrink_holds_all_that_was_seen():
    layer = FakeQuantRange(shrinks=False)
    layer.build((None, 2))
    layer.set_range(-1.0, 1.0)
    for value in (3.0, -2.0, 0.5):
        layer(np.full((4, 2), value, "float32"), training=True)
    assert (float(layer.low), float(layer.high)) == (-2.0, 3.0)
    assert not FakeQuantRange.from_config(layer.get_config()).shrinks
