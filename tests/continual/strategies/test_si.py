"""SI: its path integral against a re-computation in NumPy, and against the fall of the loss."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.continual import SI, ContinualModel, ContinualRegressor, Experience
from autokit.training import ModelState

N_ROWS = 60
STEPS = 7
RATE, MOMENTUM = 0.03, 0.5


def linear(input_shape, n_outputs):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(n_outputs)])


def rows(seed=0):
    X = np.random.default_rng(seed).normal(size=(N_ROWS, 3)).astype(np.float32)
    return X, X @ [1.0, -1.0, 0.5], X @ [-1.0, 2.0, 0.0] + 1.0


def regressor(strategy, **options):
    settings = {
        "epochs": STEPS,
        "batch_size": N_ROWS,
        "optimizer": keras.optimizers.SGD(RATE, momentum=MOMENTUM),
        "validation_fraction": 0.0,
        "random_state": 0,
    }
    return ContinualRegressor(linear, strategy, **settings | options)


def weights_of(model):
    kernel, bias = (v.numpy() for v in model._learnt.network.trainable_variables)
    return np.append(kernel[:, 0], bias)


def state_of(model, name):
    kernel, bias = model._learnt.state[name]
    return np.append(kernel[:, 0], bias)


def test_importance_equals_numpy(monkeypatch):
    strategy = SI(strength=0.7, damping=0.05)
    X, *targets = rows()
    starts, after = [], SI.after

    def noted(self, experience):
        kernel, bias = experience.before.params
        starts.append(np.append(kernel[:, 0], bias[0]).astype(float))
        return after(self, experience)

    monkeypatch.setattr(SI, "after", noted)
    model = regressor(strategy)
    for y in targets:
        model.partial_fit(X, y)

    x = np.column_stack([model.encoder_.encode(X), np.ones(N_ROWS)]).astype(float)
    p, anchor, weight, velocity = starts[0], np.zeros(4), np.zeros(4), np.zeros(4)
    for y in targets:
        target = model.target_.encode(y).reshape(-1)
        path, start = np.zeros(4), p.copy()
        for _ in range(STEPS):
            slope = 2 * x.T @ (x @ p - target) / N_ROWS
            velocity = MOMENTUM * velocity - RATE * (slope + 2 * weight * (p - anchor))
            p, path = p + velocity, path - slope * velocity
        weight = weight + 0.7 * np.maximum(path, 0) / ((p - start) ** 2 + 0.05)
        anchor = p
    np.testing.assert_allclose(weights_of(model), p, rtol=1e-4)
    np.testing.assert_allclose(state_of(model, "anchor"), p, rtol=1e-4)
    np.testing.assert_allclose(state_of(model, "weight"), weight, rtol=1e-3)


def test_path_adds_up_to_the_fall_of_the_loss():
    # along a gradient flow the loss falls by the integral; so many small steps come near
    X, y, _ = rows()
    damping = 1e6  # so great that the importance is the path
    model = regressor(
        SI(strength=damping, damping=damping), optimizer="sgd", learning_rate=1e-3, epochs=500
    ).partial_fit(X, y)
    losses = model.history_["loss"]
    assert state_of(model, "weight").sum() == pytest.approx(losses[0] - losses[-1], rel=0.02)


def test_a_path_that_raised_the_loss_gives_no_importance():
    zeros, path = np.zeros(2, np.float32), np.array([1.0, -1.0], np.float32)
    learnt = np.array([2.0, 2.0], np.float32)
    state = {"path": [path], "slope": [zeros], "last": [zeros], "weight": [zeros]}
    experience = Experience(
        number=0, group=0, batch=None, memory=None, state=state, before=ModelState([zeros], []),
        groups=np.zeros(1), network=None, rng=None, learnt=ModelState([learnt], []),
    )  # fmt: skip
    (weight,) = SI(strength=3.0, damping=0.5).after(experience)["weight"]
    np.testing.assert_allclose(weight, [3.0 / 4.5, 0.0])


@pytest.mark.parametrize("scenario", ["task", "domain"])
def test_strength_zero_is_naive_bit_for_bit(scenario):
    X, *targets = rows()
    weights = []
    for strategy in ("naive", SI(strength=0.0)):
        model = ContinualModel(
            linear, strategy, scenario=scenario, epochs=3, random_state=0, validation_fraction=0.0
        )
        for task, y in enumerate(targets):
            model.partial_fit(X, y > 0, task=task)
        weights.append([v.numpy() for v in model.model_.variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_endless_strength_keeps_the_old_weights():
    X, first, second = rows()
    model = regressor(SI(strength=1e8), optimizer="adam", learning_rate=1e-3, epochs=50)
    before = weights_of(model.partial_fit(X, first))
    kept = state_of(model, "weight") > 0
    moved = np.abs(weights_of(model.partial_fit(X, second)) - before)
    # Adam steps by about its rate, 1e-3, and is pulled back
    assert kept.sum() >= 3
    assert moved[kept].max() < 5e-3


def test_nothing_of_the_path_is_kept():
    X, y, _ = rows()
    assert sorted(regressor(SI()).partial_fit(X, y)._learnt.state) == ["anchor", "weight"]
