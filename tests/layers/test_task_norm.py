"""Batch normalisation by the statistics that are named, against Keras' own."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.layers.task_norm import TaskNormalization, normalises, with_statistics

SHAPE = (6, 5, 4, 3)
OPTIONS = {"momentum": 0.9, "epsilon": 1e-3}


@pytest.fixture
def images():
    return (2.0 + 3.0 * np.random.default_rng(0).normal(size=SHAPE)).astype(np.float32)


def weights(seed=1):
    """Gamma, beta, moving mean, moving variance."""
    rng = np.random.default_rng(seed)
    return [*rng.normal(size=(3, 3)), rng.uniform(0.5, 2.0, 3)]


def layers(**options):
    pair = keras.layers.BatchNormalization(**OPTIONS), TaskNormalization(**OPTIONS, **options)
    for layer in pair:
        layer.build((None, *SHAPE[1:]))
        layer.set_weights(weights())
    return pair


def outcome(layer, x, training):
    """Outputs, gradients of input and scale and shift, and moving averages."""
    x, target = tf.constant(x), np.random.default_rng(2).normal(size=x.shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=training)
        loss = tf.reduce_sum(outputs * target.astype(np.float32))
    slopes = tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])
    return [part.numpy() for part in [outputs, *slopes, layer.moving_mean, layer.moving_variance]]


@pytest.mark.parametrize("training", [True, False])
def test_usual_statistics_are_those_of_keras(images, training):
    theirs, ours = layers()
    assert ours._has_kernel(tf.constant(images))
    for a, b in zip(
        outcome(theirs, images, training), outcome(ours, images, training), strict=True
    ):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "options"),
    [((6, 3), {}), ((6, 4, 3), {}), (SHAPE, {"scale": False}), (SHAPE, {"dtype": "float64"})],
)
def test_what_the_fused_kernel_cannot_do_is_left_to_keras(shape, options):
    x = np.random.default_rng(0).normal(size=shape).astype(options.get("dtype", "float32"))
    theirs = keras.layers.BatchNormalization(**OPTIONS, **options)
    ours = TaskNormalization(**OPTIONS, **options)
    answers = [layer(x, training=True).numpy() for layer in (theirs, ours)]
    np.testing.assert_array_equal(*answers)
    np.testing.assert_array_equal(theirs.moving_variance.numpy(), ours.moving_variance.numpy())


@pytest.mark.parametrize("training", [True, False])
def test_rows_are_normalised_by_their_own_statistics_which_are_kept(images, training):
    _, layer = layers(statistics="rows")
    found = layer(images, training=training).numpy()
    mean, variance = images.mean(axis=(0, 1, 2)), images.var(axis=(0, 1, 2))
    gamma, beta = weights()[:2]
    expected = gamma * (images - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), variance, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_kept_statistics_are_the_moving_averages_and_stay(images, training):
    _, layer = layers(statistics="kept")
    found = layer(images, training=training).numpy()
    gamma, beta, mean, variance = weights()
    expected = gamma * (images - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.moving_mean.numpy(), mean, rtol=1e-6)


def network():
    inputs = keras.Input(SHAPE[1:])
    x = keras.layers.Conv2D(3, 1)(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.Sequential([keras.layers.Dense(4), keras.layers.BatchNormalization()])(x)
    model = keras.Model(inputs, keras.layers.Flatten()(x))
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


def test_a_network_keeps_its_variables_and_their_order(images):
    model = network()
    params = [v.value for v in model.trainable_variables]
    buffers = [v.value for v in model.non_trainable_variables]
    for statistics in ("usual", "rows", "kept"):
        other = with_statistics(model, statistics)
        for a, b in zip(model.variables, other.variables, strict=True):
            assert (a.name, a.shape, a.trainable) == (b.name, b.shape, b.trainable)
        found = [x for x in other._flatten_layers() if isinstance(x, TaskNormalization)]
        assert [x.statistics for x in found] == [statistics] * 2
        for training in (False, True):
            answers = other.stateless_call(params, buffers, images, training=training)[0]
            if statistics != "rows" and not training:
                np.testing.assert_allclose(answers, model(images, training=False), atol=1e-5)
    kept = with_statistics(model, "rows").stateless_call(params, buffers, images)[1]
    again = with_statistics(model, "kept").stateless_call(params, kept, images)[0]
    by_rows = with_statistics(model, "rows").stateless_call(params, buffers, images)[0]
    np.testing.assert_allclose(again, by_rows, rtol=1e-4, atol=1e-4)


def test_a_network_that_normalises_nothing_is_itself():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert not normalises(model)
    assert with_statistics(model, "rows") is model
    assert normalises(network())


def test_constants_of_layers_are_kept(images):
    scaled = keras.layers.Normalization()
    scaled.adapt(images)
    model = keras.Sequential(
        [keras.Input(SHAPE[1:]), scaled, keras.layers.BatchNormalization(), keras.layers.Flatten()]
    )
    parts = [[v.value for v in part] for part in (model.trainable_variables,
                                                  model.non_trainable_variables)]  # fmt: skip
    found = with_statistics(model, "kept").stateless_call(*parts, images)[0]
    np.testing.assert_allclose(found, model(images, training=False), atol=1e-5)


def test_a_file_keeps_whose_statistics_are_used(tmp_path, images):
    model = with_statistics(network(), "rows")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), model(images))
