"""Per-example gradients against a loop over rows."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.training import (
    TensorBatch,
    per_example_gradients,
    seeded,
    snapshot,
    task_objective,
    value_and_gradient,
)

SHAPES = {"dense": (5,), "conv": (6, 6, 1), "lstm": (4, 3)}


def model_of(kind):
    layers = {
        "dense": [keras.layers.Dense(4, activation="relu"), keras.layers.BatchNormalization()],
        "conv": [
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
        ],
        "lstm": [keras.layers.LSTM(3)],
    }
    with seeded(0):
        return keras.Sequential(
            [keras.Input(SHAPES[kind]), *layers[kind], keras.layers.Dropout(0.5),
             keras.layers.Dense(3)]
        )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "weighted", "compiled"),
    [("dense", True, False), ("dense", False, True), ("conv", False, True), ("lstm", False, True)],
)
def test_equal_to_a_loop_over_rows(kind, weighted, compiled):
    model = model_of(kind)
    objective = task_objective(
        model, keras.losses.SparseCategoricalCrossentropy(from_logits=True), training=False
    )
    rng = np.random.default_rng(0)
    params, buffers = snapshot(model)
    params = [tf.constant(p) for p in params]
    batch = TensorBatch(
        tf.constant(rng.normal(size=(7, *SHAPES[kind])), tf.float32),
        tf.constant(rng.integers(0, 3, 7), tf.int32),
        tf.constant(rng.random(7), tf.float32) if weighted else None,
    )
    function = per_example_gradients(objective)
    if compiled:
        function = tf.function(function, autograph=False)
    found = function(params, buffers, batch)
    for row in range(7):
        single = TensorBatch(*(None if part is None else part[row : row + 1] for part in batch))
        _, expected = value_and_gradient(objective)(params, buffers, single)
        for every, own in zip(found, expected, strict=True):
            np.testing.assert_allclose(every[row], own, rtol=1e-4, atol=1e-6)


def test_mean_is_the_gradient_of_the_mean_loss():
    model = model_of("dense")
    objective = task_objective(model, keras.losses.MeanSquaredError(), training=False)
    rng = np.random.default_rng(0)
    params, buffers = snapshot(model)
    rows = rng.normal(size=(9, 5)), rng.normal(size=(9, 3))
    batch = TensorBatch(*(tf.constant(part, tf.float32) for part in rows))
    each = per_example_gradients(objective)(params, buffers, batch)
    _, mean = value_and_gradient(objective)(params, buffers, batch)
    for every, whole in zip(each, mean, strict=True):
        np.testing.assert_allclose(tf.reduce_mean(every, 0), whole, rtol=1e-4, atol=1e-6)
