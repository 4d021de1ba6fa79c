"""Every algorithm keeps the contract, and equals what its paper says it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autokit._backend import tf
from autokit.federated import (
    ALGORITHMS,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedProx,
    FedSGD,
    FedYogi,
    Scaffold,
    ServerStep,
)
from autokit.federated.schedule import batches
from autokit.federated.steps import step_of
from autokit.testing.federated import (
    SHORT,
    AlgorithmContract,
)
from autokit.testing.federations import (
    dense_network,
    federation,
    linear_network,
    recurrent_network,
    run,
    start,
)


@pytest.fixture(scope="class", params=ALGORITHMS)
def _name(request):
    request.cls.name = request.param


@pytest.mark.usefixtures("_name")
class TestEveryAlgorithm(AlgorithmContract):
    name: str

    def make_algorithm(self):
        return ALGORITHMS[self.name](**SHORT.get(self.name, {}))


def local_sgd(given, weights, round_number, client, mu=0.0):
    """SGD of one client, written by hand."""
    model, data = given.model, given.clients.batch(client)
    params = [tf.constant(part) for part in given.layout.arrays(weights)]
    begin, buffers = params, [variable.value for variable in model.non_trainable_variables]
    for places in batches(
        given.seed,
        round_number,
        client,
        len(data),
        local_epochs=given.local_epochs,
        batch_size=given.batch_size,
    ):
        with tf.GradientTape() as tape:
            tape.watch(params)
            outputs, _, penalties = model.stateless_call(
                params, buffers, data.x[places], training=True, return_losses=True
            )
            picked = tf.gather(outputs, data.y[places], batch_dims=1)
            loss = -tf.reduce_mean(tf.math.log(picked)) + sum(penalties)
            pulls = (tf.reduce_sum((p - b) ** 2) for p, b in zip(params, begin, strict=True))
            loss += mu / 2 * sum(pulls)
        gradients = tape.gradient(loss, params)
        params = [p - given.learning_rate * g for p, g in zip(params, gradients, strict=True)]
    return np.concatenate([np.ravel(p) for p in params])


@pytest.mark.parametrize("build", [dense_network, recurrent_network])
def test_one_client_is_local_sgd(build):
    given = federation(build, (23,), local_epochs=2)
    weights = start(given).weights
    for number in range(3):
        weights = local_sgd(given, weights, number, 0)
    np.testing.assert_allclose(run(given).weights, weights, atol=1e-6)
    alone = run(replace(given, algorithm=Scaffold()))
    np.testing.assert_allclose(alone.weights, weights, atol=1e-6)
    np.testing.assert_allclose(alone.shared, alone.kept["client-0"]["variate"], atol=1e-6)


def test_weighted_and_unweighted_means_of_what_clients_made():
    given = federation()
    weights = start(given).weights
    ends = np.stack([local_sgd(given, weights, 0, k) for k in range(3)])
    for algorithm, shares in ((FedAvg(), (13, 7, 22)), (FedAvg(weighted=False), (1, 1, 1))):
        found = run(replace(given, algorithm=algorithm), n_rounds=1).weights
        np.testing.assert_allclose(found, np.average(ends, axis=0, weights=shares), atol=1e-6)


def test_fedprox_pulls_back():
    given = federation(local_epochs=3)
    weights = start(given).weights
    ends = np.stack([local_sgd(given, weights, 0, k, mu=2.0) for k in range(3)])
    found = run(replace(given, algorithm=FedProx(mu=2.0)), n_rounds=1).weights
    np.testing.assert_allclose(found, np.average(ends, axis=0, weights=(13, 7, 22)), atol=1e-6)
    free = run(given, n_rounds=1).weights
    assert np.linalg.norm(found - weights) < np.linalg.norm(free - weights)


@pytest.mark.parametrize(
    "algorithm",
    [
        FedProx(mu=0.0),
        FedAvgM(momentum=0.0),
        # v is nothing beside epsilon where it forgets at once
        FedAdam(learning_rate=1e5, beta_1=0.0, beta_2=0.0, epsilon=1e5),
        # where it remembers, sqrt(v) is the epsilon that it starts at
        FedAdagrad(learning_rate=2e3, epsilon=1e3),
        FedYogi(learning_rate=2e3, beta_1=0.0, beta_2=0.9, epsilon=1e3),
        Scaffold(weighted=True),
    ],
    ids=lambda algorithm: type(algorithm).__name__,
)
def test_limits_are_fedavg(algorithm):
    given = federation(dense_network)
    n_rounds = 1 if isinstance(algorithm, Scaffold) else 3  # its first corrections are 0
    found = run(replace(given, algorithm=algorithm), n_rounds=n_rounds).weights
    np.testing.assert_allclose(found, run(given, n_rounds=n_rounds).weights, atol=1e-5)


def test_fedsgd_is_one_step_along_the_gradient_of_all_rows():
    given = federation(algorithm=FedSGD(), local_epochs=7)
    weights = start(given).weights
    rows = [given.clients.batch(k) for k in range(3)]
    x, y = (np.concatenate([getattr(part, name) for part in rows]) for name in "xy")
    params = [tf.constant(part) for part in given.layout.arrays(weights)]
    with tf.GradientTape() as tape:
        tape.watch(params)
        outputs, _, penalties = given.model.stateless_call(params, [], x, return_losses=True)
        loss = tf.reduce_mean(-tf.math.log(tf.gather(outputs, y, batch_dims=1))) + sum(penalties)
    gradient = np.concatenate([np.ravel(g) for g in tape.gradient(loss, params)])
    np.testing.assert_allclose(run(given, n_rounds=1).weights, weights - 0.1 * gradient, atol=1e-6)


def test_scaffold_is_algorithm_1_of_its_paper():
    """Least squares in float64, with two of four clients in each round."""
    given = federation(
        linear_network, (9, 5, 12, 6), algorithm=Scaffold(learning_rate=0.7), learning_rate=0.05
    )
    draws = ([0, 2], [1, 2], [0, 3], [1, 3], [0, 1])
    w = start(given).weights.astype(float)
    c, own = np.zeros_like(w), np.zeros((4, len(w)))
    state = None
    for number, chosen in enumerate(draws):
        moved, changed = np.zeros_like(w), np.zeros_like(w)
        for k in chosen:
            data, end, steps = given.clients.batch(k), w.copy(), 0
            for places in batches(3, number, k, len(data), local_epochs=1, batch_size=5):
                x, y = data.x[places].astype(float), data.y[places]
                error = x @ end[:6].reshape(3, 2) + end[6:] - y
                gradient = np.append(x.T @ error, error.sum(axis=0)) / len(x)  # 2 / 2 outputs
                end -= 0.05 * (gradient - own[k] + c)
                steps += 1
            after = own[k] - c + (w - end) / (steps * 0.05)
            changed += (after - own[k]) / len(chosen)
            moved += (end - w) / len(chosen)
            own[k] = after
        w = w + 0.7 * moved
        c = c + len(chosen) / 4 * changed
        state = run(given, n_rounds=1, state=state, chosen=chosen)
        np.testing.assert_allclose(state.weights, w, atol=1e-5)
        np.testing.assert_allclose(state.shared, c, atol=1e-4)
    for k in range(4):
        np.testing.assert_allclose(state.kept[f"client-{k}"]["variate"], own[k], atol=1e-4)


def test_scaffold_finds_the_common_minimum_where_fedavg_drifts():
    given = federation(linear_network, (20, 20), batch_size=20, local_epochs=10, learning_rate=0.2)
    rows = [given.clients.batch(k) for k in range(2)]
    x, y = (np.concatenate([getattr(part, name) for part in rows]) for name in "xy")
    best = np.linalg.lstsq(np.column_stack([x, np.ones(40)]), y, rcond=None)[0].ravel()
    plain = run(given, n_rounds=30).weights
    corrected = run(replace(given, algorithm=Scaffold()), n_rounds=30).weights
    assert np.linalg.norm(corrected - best) < 0.01
    assert np.linalg.norm(plain - best) > 0.05


PARAMS = np.array([1.0, -2.0, 0.5], np.float32)
FIRST, SECOND = np.array([0.1, -0.2, 0.0], np.float32), np.array([0.3, 0.1, -0.1], np.float32)


def test_steps_with_momentum():
    step = FedAvgM(learning_rate=0.5, momentum=0.9).server()
    once, state = step.apply(PARAMS, FIRST, [])
    np.testing.assert_allclose(once, [1.05, -2.1, 0.5], rtol=1e-6)
    twice, state = step.apply(once, SECOND, state)
    velocity = 0.9 * 0.5 * FIRST + 0.5 * SECOND
    np.testing.assert_allclose(twice, once + velocity, rtol=1e-6)
    np.testing.assert_allclose(state[0], velocity, rtol=1e-6)
    nesterov = FedAvgM(learning_rate=0.5, momentum=0.9, nesterov=True).server()
    found, _ = nesterov.apply(PARAMS, FIRST, [])
    np.testing.assert_allclose(found, PARAMS + 1.9 * 0.5 * FIRST, rtol=1e-6)


@pytest.mark.parametrize(
    ("algorithm", "second"),
    [
        (FedAdam(0.1, 0.9, 0.99, 0.01), lambda v, s: 0.99 * v + 0.01 * s),
        (FedYogi(0.1, 0.9, 0.99, 0.01), lambda v, s: v - 0.01 * s * np.sign(v - s)),
        (FedAdagrad(0.1, 0.9, 0.01), lambda v, s: v + s),
    ],
    ids=lambda value: type(value).__name__,
)
def test_adaptive_steps_of_the_paper(algorithm, second):
    step, state, found = algorithm.server(), [], PARAMS
    expected, m, v = PARAMS.astype(float), np.zeros(3), np.full(3, 0.01**2)
    for mean in (FIRST, SECOND, FIRST):
        m = 0.9 * m + 0.1 * mean
        v = second(v, mean.astype(float) ** 2)
        expected = expected + 0.1 * m / (np.sqrt(v) + 0.01)
        found, state = step.apply(found, mean, state)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == np.float32


def test_server_optimizers_are_those_of_keras():
    from autokit._backend import keras

    optimizers = keras.optimizers
    for optimizer in (
        optimizers.SGD(0.3, momentum=0.8, nesterov=True),
        optimizers.Adam(0.2, beta_1=0.5, epsilon=1e-3),
        optimizers.Adagrad(0.2, initial_accumulator_value=0.3, epsilon=1e-3),
    ):
        step, state, found = step_of(optimizer), [], PARAMS
        variable = keras.Variable(PARAMS)
        optimizer.build([variable])
        for mean in (FIRST, SECOND, SECOND):
            found, state = step.apply(found, mean, state)
            optimizer.apply([tf.constant(-mean)], [variable])
            np.testing.assert_allclose(found, variable.numpy(), rtol=1e-5, atol=1e-6)
    assert step_of("adam").rule == "adam"
    assert step_of("adam") == step_of("Adam") != step_of("sgd")


def test_a_server_optimizer_takes_the_place_of_the_algorithms_own():
    given = federation()
    same = replace(given, server_step=ServerStep("sgd", learning_rate=1.0), algorithm=FedAdam())
    np.testing.assert_array_equal(run(same).weights, run(given).weights)
