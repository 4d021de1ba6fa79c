"""The mean size of gradients: in pieces as at once, and over convolutions."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.continual import EWC, MAS, ContinualModel, importance
from autokit.training import clear_programs


def convolutional(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(2, 2, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(n_outputs),
        ]
    )


def learnt(strategy):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(10, 4, 4, 1)).astype(np.float32), np.arange(10) % 2
    model = ContinualModel(
        convolutional, strategy, epochs=1, validation_fraction=0.0, random_state=0
    ).partial_fit(X, y)
    return model, model.encoder_.encode(X), y


@pytest.mark.parametrize("limit", ["PIECE_ROWS", "PIECE_FLOATS"])
def test_pieces_add_up(limit, monkeypatch):
    clear_programs()
    whole = learnt(MAS())[0]._learnt.state["weight"]
    monkeypatch.setattr(importance, limit, 3)
    pieces = learnt(MAS())[0]._learnt.state["weight"]
    for a, b in zip(whole, pieces, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_equals_a_loop_over_rows_in_inference_mode():
    model, x, y = learnt(EWC(fisher="empirical", strength=2.0))
    network = model._learnt.network
    params = [v.value for v in network.trainable_variables]
    expected = [0.0] * len(params)
    for row, label in zip(x, y, strict=True):
        with tf.GradientTape() as tape:
            outputs = network(row[None], training=False)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits([label], outputs)
        slopes = tape.gradient(loss, params)
        expected = [e + g.numpy() ** 2 / len(x) for e, g in zip(expected, slopes, strict=True)]
    for found, wanted in zip(model._learnt.state["weight"], expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)


def test_rows_are_drawn_once_each():
    # all rows drawn without replacement are all rows
    some, every = (learnt(MAS(n_rows=n))[0]._learnt.state["weight"] for n in (10, 10**6))
    for a, b in zip(some, every, strict=True):
        np.testing.assert_array_equal(a, b)
