"""EWC: its Fisher against logistic regression, its optimum against the closed form."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.continual import EWC, ContinualModel, ContinualRegressor, Experience
from autokit.training import Batch, ModelState

N_ROWS = 400


def linear(input_shape, n_outputs):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(n_outputs)])


def perceptron(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.Dense(n_outputs),
        ]
    )


def rows(seed=0, n_rows=N_ROWS):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 3)).astype(np.float32)
    return X, (X[:, 0] + 0.5 * rng.normal(size=n_rows) > 0).astype(int)


def classifier(strategy, model=linear, scenario="task", **options):
    settings = {"epochs": 3, "validation_fraction": 0.0, "random_state": 0} | options
    return ContinualModel(model, strategy, scenario=scenario, **settings)


def fisher_of(model, strategy):
    """What was measured last, with the kernel and bias as one array of shape (n_in + 1, n_out)."""
    kernel, bias = model._learnt.state["weight"]
    return np.vstack([kernel, bias]) * 2 / strategy.strength


def inputs_of(model, X):
    x = model.encoder_.encode(X)
    return np.column_stack([x, np.ones(len(x))])


def probabilities(model, x):
    kernel, bias = (v.numpy() for v in model._learnt.network.trainable_variables)
    logits = x @ np.vstack([kernel, bias])
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def test_true_fisher_of_logistic_regression_is_the_closed_form():
    X, y = rows(n_rows=2000)
    strategy = EWC(strength=3.0)
    model = classifier(strategy).partial_fit(X, y, task=0)
    x = inputs_of(model, X)
    p = probabilities(model, x)
    # E_y (p_c - [y = c])^2 = p_c (1 - p_c), and the deviation of a sampled mean around it
    variance = p * (1 - p)
    expected = (x**2).T @ variance / len(x)
    spread = np.sqrt((x**4).T @ (variance * (1 - 2 * p) ** 2)) / len(x)
    found = fisher_of(model, strategy)
    assert np.all(np.abs(found - expected) < 4 * spread + 1e-7)
    # of two classes the second's slope is minus the first's: equal squares
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-4)


def test_empirical_fisher_of_logistic_regression_is_the_closed_form():
    X, y = rows()
    strategy = EWC(strength=3.0, fisher="empirical")
    model = classifier(strategy).partial_fit(X, y, task=0)
    x = inputs_of(model, X)
    slopes = probabilities(model, x) - np.eye(2)[y]
    np.testing.assert_allclose(fisher_of(model, strategy), (x**2).T @ slopes**2 / N_ROWS, rtol=1e-4)


@pytest.mark.parametrize("fisher", ["true", "empirical"])
def test_fisher_of_a_linear_regression_is_the_closed_form(fisher):
    X, _ = rows()
    y = X @ [1.0, -1.0, 0.5]
    strategy = EWC(strength=2.0, fisher=fisher)
    model = ContinualRegressor(
        linear, strategy, epochs=1, random_state=0, validation_fraction=0.0
    ).partial_fit(X, y)
    x = inputs_of(model, X)
    target = model.target_.encode(y).reshape(-1)
    kernel, bias = (v.numpy() for v in model._learnt.network.trainable_variables)
    residual = x @ np.vstack([kernel, bias])[:, 0] - target
    squares = 1.0 if fisher == "true" else residual[:, None] ** 2
    expected = np.mean(x**2 * squares, axis=0)[:, None]
    np.testing.assert_allclose(fisher_of(model, strategy), expected, rtol=1e-4)


def test_fisher_is_measured_on_so_many_rows():
    X, y = rows()
    strategy = EWC(strength=2.0, n_fisher=1, fisher="empirical")
    model = classifier(strategy).partial_fit(X, y, task=0)
    x = inputs_of(model, X)
    each = x[:, :, None] ** 2 * ((probabilities(model, x) - np.eye(2)[y]) ** 2)[:, None, :]
    distance = np.abs(each - fisher_of(model, strategy)).max(axis=(1, 2))
    assert np.sum(distance < 1e-6) == 1


@pytest.mark.parametrize("fisher", ["true", "empirical"])
def test_units_of_other_heads_have_no_fisher(fisher):
    X, y = rows()
    strategy = EWC(strength=1.0, fisher=fisher, online=True, decay=0.0)
    model = classifier(strategy)
    for task in range(3):
        model.partial_fit(X, y, task=task)
    found = fisher_of(model, strategy)
    assert np.all(found[:, :4] == 0)
    assert np.all(found[:, 4:] > 0)


def test_optimum_of_a_quadratic_is_the_closed_form():
    X, _ = rows()
    first, second = X @ [1.0, -1.0, 0.5], X @ [-1.0, 2.0, 0.0] + 1.0
    model = ContinualRegressor(
        linear, EWC(strength=3.0), epochs=300, batch_size=N_ROWS, optimizer="sgd",
        learning_rate=0.1, random_state=0, validation_fraction=0.0,
    ).partial_fit(X, first)  # fmt: skip
    anchor = np.concatenate(model._learnt.state["anchor"], axis=None)
    fisher = fisher_of(model, model.strategy)[:, 0]
    model.partial_fit(X, second)
    # gradient of mean (xw - y)^2 + lambda / 2 sum F (w - a)^2
    x, target = inputs_of(model, X), model.target_.encode(second).reshape(-1)
    curvature = 2 * x.T @ x / N_ROWS + 3.0 * np.diag(fisher)
    optimum = np.linalg.solve(curvature, 2 * x.T @ target / N_ROWS + 3.0 * fisher * anchor)
    found = np.concatenate([v.numpy() for v in model.model_.trainable_variables], axis=None)
    np.testing.assert_allclose(found, optimum, atol=1e-4)


def test_strength_zero_is_naive_bit_for_bit():
    X, y = rows()
    weights = []
    for strategy in ("naive", EWC(strength=0.0), EWC(strength=0.0, online=True)):
        model = classifier(strategy, perceptron)
        for task in range(3):
            model.partial_fit(X, y, task=task)
        weights.append([v.numpy() for v in model.model_.variables])
    for other in weights[1:]:
        for a, b in zip(weights[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_endless_strength_keeps_the_old_weights():
    X, y = rows()
    moved = {}
    for strength in (0.0, 1e8):
        model = classifier(EWC(strength=strength), linear, scenario="domain", epochs=20)
        model.partial_fit(X, y)
        before = [v.numpy() for v in model.model_.trainable_variables]
        model.partial_fit(X, 1 - y)
        after = [v.numpy() for v in model.model_.trainable_variables]
        moved[strength] = max(np.abs(a - b).max() for a, b in zip(after, before, strict=True))
    # Adam steps by about its rate, 1e-3, and is pulled back
    assert moved[1e8] < 5e-3 < 0.1 < moved[0.0]


def experiences(n):
    """Finished experiences with a Fisher and weights of their own."""
    rng = np.random.default_rng(0)
    batch = Batch(np.zeros((1, 2), np.float32), np.zeros(1, np.int32))
    for number in range(n):
        fisher = rng.random((2, 3)).astype(np.float32)
        fisher[0, :number] = 0.0
        learnt = ModelState([rng.normal(size=(2, 3)).astype(np.float32)], [])
        yield fisher, Experience(
            number=number, group=0, batch=batch, memory=None, state={}, before=learnt,
            learnt=learnt, groups=np.zeros(3), network=None, rng=rng,
            sweep=lambda *_, fisher=fisher: [fisher],
        )  # fmt: skip


def test_merged_penalties_equal_their_sum():
    strategy = EWC(strength=4.0)
    state, kept = strategy.start([np.zeros((2, 3), np.float32)], []), []
    for fisher, experience in experiences(4):
        state = strategy.after(experience.of(state))
        kept.append((fisher, experience.learnt.params[0]))
    points = np.random.default_rng(1).normal(size=(10, 2, 3))
    total = [sum(np.sum(2.0 * f * (p - a) ** 2) for f, a in kept) for p in points]
    merged = [np.sum(state["weight"][0] * (p - state["anchor"][0]) ** 2) for p in points]
    constant = np.subtract(total, merged)
    np.testing.assert_allclose(constant, constant[0], rtol=1e-5)


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_online_keeps_a_running_fisher_around_the_last_weights(decay):
    strategy, expected = EWC(strength=4.0, online=True, decay=decay), 0.0
    state = strategy.start([np.zeros((2, 3), np.float32)], [])
    for fisher, experience in experiences(3):
        state = strategy.after(experience.of(state))
        expected = decay * expected + 2.0 * fisher
        np.testing.assert_allclose(state["weight"][0], expected, rtol=1e-6)
        np.testing.assert_array_equal(state["anchor"][0], experience.learnt.params[0])


def test_first_penalty_is_the_same_online():
    X, y = rows()
    states = [
        classifier(EWC(online=online), perceptron).partial_fit(X, y, task=0)._learnt.state
        for online in (False, True)
    ]
    for first, second in zip(states[0]["weight"], states[1]["weight"], strict=True):
        np.testing.assert_array_equal(first, second)
    used = [w > 0 for w in states[0]["weight"]]
    for a, b, u in zip(states[0]["anchor"], states[1]["anchor"], used, strict=True):
        np.testing.assert_allclose(a[u], b[u], rtol=1e-6)


def test_a_wrong_parameter_is_named():
    X, y = rows()
    with pytest.raises(ValueError, match="'fisher' parameter of EWC must be"):
        classifier(EWC(fisher="none")).partial_fit(X, y, task=0)
