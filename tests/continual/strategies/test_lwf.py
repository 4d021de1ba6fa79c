"""LwF: its distillation and its training against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.continual import ContinualModel, ContinualRegressor, LwF
from autokit.continual.strategies.lwf import distance

N_ROWS = 20
RATE, STEPS = 0.3, 3


def linear(input_shape, n_outputs):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(n_outputs)])


def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_ROWS, 3)).astype(np.float32), np.arange(N_ROWS) % 2


def options(**more):
    settings = {
        "epochs": STEPS,
        "batch_size": N_ROWS,
        "optimizer": "sgd",
        "learning_rate": RATE,
        "validation_fraction": 0.0,
        "random_state": 0,
    }
    return {"model": linear} | settings | more


def softmax(logits):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def kernel_and_bias(model):
    return np.vstack([v.numpy() for v in model._learnt.network.trainable_variables]).astype(float)


def inputs_of(model, X):
    return np.column_stack([model.encoder_.encode(X), np.ones(len(X))]).astype(float)


def former_probabilities(logits, units, old):
    """Of all units of a head; 0 for those that are new."""
    probabilities = np.zeros((len(logits), len(units)))
    probabilities[:, np.isin(units, old)] = softmax(logits[:, old])
    return probabilities


GROUPS = np.array([0, 0, 0, 1, 1, 2, 2, -1], np.int32)
KNOWN = np.array([1, 0, 1, 1, 1, 0, 0, 0], bool)


def test_distance_is_the_mean_cross_entropy_of_known_heads():
    rng = np.random.default_rng(0)
    former, now = rng.normal(size=(2, 5, 8)) * 3
    with tf.GradientTape() as tape:
        student = tf.Variable(now, dtype=tf.float32)
        found = distance(tf.constant(former, tf.float32), student, GROUPS, KNOWN, 2.0)
    slope = np.zeros_like(now)
    expected = 0.0
    for units, old in (([0, 1, 2], [0, 2]), ([3, 4], [3, 4])):
        target = former_probabilities(former / 2, units, old)
        q = softmax(now[:, units] / 2)
        expected -= 4 * np.mean(np.sum(target * np.log(q), axis=1)) / 2
        slope[:, units] = 2 * (q - target) / 5 / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(tape.gradient(found, student), slope, atol=1e-6)


@pytest.mark.parametrize("known", [KNOWN, np.zeros(8, bool)])
def test_distance_stays_finite(known):
    outputs = np.array([[1e4, -1e4, -1e4, -1e4, -1e4, 0, 0, 1e9]] * 2)
    student = tf.Variable(outputs[:, ::-1], dtype=tf.float32)
    with tf.GradientTape() as tape:
        value = distance(tf.constant(outputs, tf.float32), student, GROUPS, known, 1.0)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, student)).all()
    assert known.any() or float(value) == 0.0


@pytest.mark.filterwarnings("ignore:LwF stays near chance")
@pytest.mark.parametrize("scenario", ["task", "class"])
def test_training_equals_numpy(scenario, monkeypatch):
    X, y = rows()
    model = ContinualModel(strategy=LwF(temperature=3.0), scenario=scenario, **options())
    starts, before = [], LwF.before

    def noted(self, experience):
        kernel, bias = experience.before.params
        starts.append(np.vstack([kernel, bias])[:, :n_units])
        return before(self, experience)

    monkeypatch.setattr(LwF, "before", noted)
    # the classes of the second experience come before those of the first
    n_units, stream = 2, [y + 2, y, y + 2 if scenario == "class" else y + 4]
    for number, labels in enumerate(stream):
        task = number if scenario == "task" else None
        n_units = 2 * (number + 1) if scenario == "task" else min(4, 2 * (number + 1))
        model.partial_fit(X, labels, task=task)
        w, x = starts[-1].astype(float), inputs_of(model, X)
        former = x @ w
        if scenario == "task":
            own = [2 * number, 2 * number + 1]
            heads = [([2 * h, 2 * h + 1],) * 2 for h in range(number)]
            place = 2 * number + y
        else:
            own = list(range(n_units))
            all_units = [0, 1, 2, 3]
            heads = [[], [(all_units, [2, 3])], [(all_units, all_units)]][number]
            place = [y, y, y + 2][number]
        share = 1 / (number + 1)
        for _ in range(STEPS):
            outputs, slope = x @ w, np.zeros((N_ROWS, n_units))
            slope[:, own] = share * (softmax(outputs[:, own]) - np.eye(n_units)[place][:, own])
            for units, old in heads:
                gap = softmax(outputs[:, units] / 3) - former_probabilities(former / 3, units, old)
                slope[:, units] += (1 - share) * 3.0 * gap / len(heads)
            w = w - RATE * x.T @ slope / N_ROWS
        np.testing.assert_allclose(kernel_and_bias(model), w, rtol=1e-4, atol=1e-5)


def test_regression_keeps_former_outputs():
    X, _ = rows()
    first, second = X @ [1.0, -1.0, 0.5], X @ [-1.0, 2.0, 0.0] + 1.0
    model = ContinualRegressor(strategy=LwF(), **options(epochs=400, learning_rate=0.1))
    former = model.partial_fit(X, first).predict(X)
    model.partial_fit(X, second)
    # half the weight is on the new targets, half on the former outputs, on the same rows
    np.testing.assert_allclose(model.predict(X), (former + second) / 2, atol=1e-2)


def test_regression_keeps_other_heads():
    X, _ = rows()
    first, second = X @ [1.0, -1.0, 0.5], X @ [-1.0, 2.0, 0.0] + 1.0
    kept = {}
    for strategy in ("naive", LwF()):
        model = ContinualRegressor(
            strategy=strategy, scenario="task", **options(model=deep, epochs=100, learning_rate=0.1)
        )
        former = model.partial_fit(X, first, task=0).predict(X, task=0)
        model.partial_fit(X, second, task=1)
        kept[str(strategy)] = np.abs(model.predict(X, task=0) - former).mean()
        assert model.score(X, second, task=1) > 0.9
    assert kept["LwF()"] < 0.3 * kept["naive"]


def deep(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dense(n_outputs),
        ]
    )


def test_nothing_is_kept_between_experiences():
    X, y = rows()
    model = ContinualModel(strategy=LwF(), **options()).partial_fit(X, y)
    assert model._learnt.state == {}
    assert (
        model.state_size_bytes_
        == ContinualModel(strategy="naive", **options()).partial_fit(X, y).state_size_bytes_
    )
