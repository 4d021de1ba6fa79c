"""Gradients that are made otherwise, and sums over rows, within the compiled training."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.training import Batch, FitConfig, Regime, TensorBatch, fit, seeded, task_objective
from autokit.training.fit_loop import make_optimizer
from autokit.training.gradients import value_and_gradient
from autokit.training.objectives import make_loss
from autokit.training.programs import borrowed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3)).astype("float32")
Y = RNG.normal(size=(24, 1)).astype("float32")
CONFIG = FitConfig(epochs=2, batch_size=8, optimizer="sgd", learning_rate=0.1)


def model():
    with seeded(0):
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])


def scaled_regime(factor, n_rows=1, traces=None):
    """Gradients times a factor; counts steps and adds up the rows' first inputs."""

    def gradient(model, loss, scaled):
        if traces is not None:
            traces.append(1)
        evaluate = value_and_gradient(scaled(task_objective(model, loss)))

        def step(params, buffers, batch, fixed, running):
            result, gradients = evaluate(params, buffers, batch)
            gradients = [fixed["factor"] * g for g in gradients]
            seen = running["seen"] + tf.reduce_sum(batch.x[:, 0])
            return result, gradients, {"steps": running["steps"] + 1, "seen": seen}

        return step

    return Regime(
        "scaled",
        gradient,
        fixed={"factor": np.float32(factor), "memory": np.zeros((n_rows, 2), np.float32)},
        running={"steps": np.int32(0), "seen": np.float32(0)},
        free=("memory",),
    )


def test_gradients_are_those_of_the_regime():
    plain, twice = model(), model()
    fit(plain, Batch(X, Y), config=CONFIG.__class__(**{**vars(CONFIG), "learning_rate": 0.2}))
    result = fit(twice, Batch(X, Y), config=CONFIG, regime=scaled_regime(2.0))
    for a, b in zip(plain.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert result.running["steps"] == 6
    assert result.running["seen"] == pytest.approx(2 * X[:, 0].sum(), abs=1e-4)


def test_a_factor_of_zero_changes_nothing():
    still = model()
    before = still.get_weights()
    fit(still, Batch(X, Y), config=CONFIG, regime=scaled_regime(0.0))
    np.testing.assert_array_equal(still.get_weights()[0], before[0])


def test_values_and_free_rows_share_one_trace():
    traces = []
    for factor, n_rows in ((1.0, 1), (2.0, 5), (3.0, 9)):
        fit(model(), Batch(X, Y), config=CONFIG, regime=scaled_regime(factor, n_rows, traces))
    assert len(traces) == 1


def test_a_sweep_sums_over_all_rows():
    network = model()
    regime = scaled_regime(3.0)

    def make(model, loss):
        def piece(params, buffers, batch, fixed, start):
            outputs = model.stateless_call(params, buffers, batch.x)[0]
            n_rows = tf.cast(tf.shape(batch.x)[0], tf.float32)
            return {"outputs": tf.reduce_sum(outputs) * fixed["factor"], "rows": (n_rows, start)}

        return piece

    rows = TensorBatch(tf.constant(X), tf.constant(Y))
    with borrowed(
        network, make_optimizer(CONFIG), make_loss(CONFIG.loss), regime=regime
    ) as program:
        total = program.sweep("outputs", make, rows, 10)
    assert total["outputs"] == pytest.approx(3 * network(X).numpy().sum(), rel=1e-4)
    assert total["rows"] == (24, 0 + 10 + 20)


def test_adam_in_one_kernel_steps_as_keras_does():
    ours, theirs = model(), model()
    config = FitConfig(epochs=5, batch_size=24, optimizer="adam", learning_rate=0.05)
    fit(ours, Batch(X, Y), config=config)
    optimizer = keras.optimizers.Adam(0.05)
    for _ in range(5):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((theirs(X) - Y) ** 2)
        variables = theirs.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
