"""MAS: its importance against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.continual import MAS, ContinualModel, ContinualRegressor

N_ROWS = 12


def perceptron(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.Dense(n_outputs),
        ]
    )


def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_ROWS, 3)).astype(np.float32), np.arange(N_ROWS) % 2


def options(**more):
    settings = {"epochs": 2, "validation_fraction": 0.0, "random_state": 0}
    return {"model": perceptron} | settings | more


def squared_norms(params, x, units):
    w1, b1, w2, b2 = params
    return np.sum((np.tanh(x @ w1 + b1) @ w2 + b2)[:, units] ** 2, axis=1)


def by_differences(model, X, units, step=1e-5):
    """The mean over rows of the absolute derivative of the squared norm, in float64."""
    params = [v.numpy().astype(float) for v in model._learnt.network.trainable_variables]
    x, found = model.encoder_.encode(X).astype(float), []
    for param in params:
        each = np.zeros(param.shape)
        for place in np.ndindex(param.shape):
            value, ends = param[place], []
            for end in (value + step, value - step):
                param[place] = end
                ends.append(squared_norms(params, x, units))
            param[place] = value
            each[place] = np.mean(np.abs(ends[0] - ends[1])) / (2 * step)
        found.append(each)
    return found


@pytest.mark.parametrize("estimator", [ContinualModel, ContinualRegressor])
def test_importance_equals_finite_differences_head_by_head(estimator):
    X, y = rows()
    n_units = 2 if estimator is ContinualModel else 1
    model = estimator(strategy=MAS(strength=3.0), scenario="task", **options())
    expected = [0.0] * 4
    for task in range(2):
        model.partial_fit(X, y if n_units == 2 else X[:, 0] * (task + 1), task=task)
        units = slice(task * n_units, (task + 1) * n_units)
        each = by_differences(model, X, units)
        expected = [
            np.pad(e, [(0, 0)] * (np.ndim(e) - 1) + [(0, n_units)])
            if task and np.shape(e) != a.shape
            else e
            for e, a in zip(expected, each, strict=True)
        ]
        expected = [e + 3.0 * a for e, a in zip(expected, each, strict=True)]
        weight = model._learnt.state["weight"]
        for found, wanted in zip(weight, expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    learnt = [v.numpy() for v in model._learnt.network.trainable_variables]
    for anchor, value in zip(model._learnt.state["anchor"], learnt, strict=True):
        np.testing.assert_array_equal(anchor, value)


def test_importance_needs_no_labels():
    X, y = rows()
    weights = [
        ContinualModel(strategy=MAS(), **options(optimizer="sgd", learning_rate=1e-12))
        .partial_fit(X, labels)
        ._learnt.state["weight"]
        for labels in (y, 1 - y)
    ]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_strength_zero_is_naive_bit_for_bit():
    X, y = rows()
    weights = []
    for strategy in ("naive", MAS(strength=0.0)):
        model = ContinualModel(strategy=strategy, scenario="task", **options())
        for task in range(3):
            model.partial_fit(X, y, task=task)
        weights.append([v.numpy() for v in model.model_.variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
