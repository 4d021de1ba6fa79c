"""Pruning within Keras' own fit, as compiled as it gets."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from autokit import KerasClassifier
from autokit._backend import keras
from autokit.compression import PruneLowMagnitude, tfmot

L = keras.layers
rng = np.random.default_rng(0)


class Last(keras.callbacks.Callback):
    """Sparsity of every large kernel as the last compiled steps left it."""

    def on_train_batch_end(self, batch, logs=None):
        self.seen = sparsities(self.model)


def sparsities(model):
    values = [v.value.numpy() for v in model.trainable_variables]
    return [float(np.mean(v == 0)) for v in values if v.size >= 500]


def network(policy, recurrent):
    # a recurrent layer takes XLA long to compile
    middle = [L.Reshape((16, 24)), L.LSTM(16, dtype=policy)] if recurrent else [L.Flatten()]
    parts = [L.Conv2D(24, 3, dtype=policy), *middle, L.Dense(40, dtype=policy)]
    return keras.Sequential([keras.Input((6, 6, 4)), *parts, L.Dense(2, dtype=policy)])


@pytest.mark.parametrize(
    ("policy", "jit_compile"),
    [("float32", False), ("float32", True), ("mixed_float16", True)],
)
def test_exact_under_many_steps_a_call_xla_and_mixed_precision(policy, jit_compile):
    model = network(policy, recurrent=not jit_compile)
    n_kernels = 2 if jit_compile else 4
    model.compile("adam", "mse", steps_per_execution=8, jit_compile=jit_compile)
    x = rng.normal(size=(160, 6, 6, 4)).astype("float32")
    y = rng.normal(size=(160, 2)).astype("float32")
    if not jit_compile:
        model.fit(x, y, batch_size=16, verbose=0)  # its trace must not be taken for the next
    last = Last()
    model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[last, PruneLowMagnitude(0.75)])
    assert len(last.seen) == n_kernels
    np.testing.assert_allclose(last.seen, 0.75, atol=1e-3)
    assert sparsities(model) == last.seen
    values = [v.value.numpy() for v in model.trainable_variables]
    model.fit(x, y, batch_size=16, epochs=2, verbose=0)
    assert sparsities(model) == last.seen
    now = [v.value.numpy() for v in model.trainable_variables]
    assert all((a != b).any() for a, b in zip(values, now, strict=True))
    assert len(model.held_.zeros) == n_kernels


def small(**options):
    model = keras.Sequential([keras.Input((20,)), L.Dense(40), L.Dense(1)])
    model.compile("adam", "mse", **options)
    return model


def test_a_schedule_of_tfmots_over_rows_of_unknown_number():
    def rows():
        while True:
            yield np.ones((8, 20), "float32"), np.ones((8, 1), "float32")

    schedule = tfmot._load().PolynomialDecay(0.0, 0.5, 2, 9, frequency=4)
    model = small()
    model.fit(
        rows(), shuffle=False, steps_per_epoch=6, epochs=2, verbose=0,
        callbacks=[PruneLowMagnitude(schedule=schedule)],
    )  # fmt: skip
    assert sparsities(model) == [0.5]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sparsity": 1.0}, "sparsity must be a float in the range"),
        ({"sparsity": "auto"}, "sparsity must be a float in the range"),
        ({"schedule": "linear"}, "schedule must be 'polynomial', 'constant' or a"),
        ({"block_size": (4,)}, "block_size must be two positive ints"),
    ],
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        PruneLowMagnitude(**parameters)


def test_training_of_unknown_length_asks_for_a_schedule():
    def rows():
        for _ in range(3):
            yield np.ones((8, 20), "float32"), np.ones((8, 1), "float32")

    with pytest.raises(ValueError, match="schedule needs the number of steps an epoch"):
        small().fit(rows(), shuffle=False, verbose=0, callbacks=[PruneLowMagnitude()])


def test_an_estimator_says_how_it_is_pruned_instead():
    X, y = load_digits(return_X_y=True)
    model = KerasClassifier(epochs=1, callbacks=[PruneLowMagnitude()])
    with pytest.raises(RuntimeError, match=r"give an estimator compression=Prune\(...\) instead"):
        model.fit(X[:100], y[:100])
