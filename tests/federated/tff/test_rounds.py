"""What rounds in TensorFlow Federated give, against a plain loop."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.federated.aggregators import NormClipping
from autokit.federated.algorithms import FedAvg, FedProx, FedSGD
from autokit.federated.communication import QuantizedUpdates
from autokit.federated.engines.embedded import EmbeddedEngine
from autokit.federated.engines.tff import TFFEngine
from autokit.federated.steps import ServerStep
from autokit.testing.federations import (
    federation,
    linear_network,
    normalized_network,
    recurrent_network,
    reference,
    start,
)
from autokit.training import Batch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lent_worker")]


ADAM = ServerStep("adam", learning_rate=0.1)
MOMENTUM = ServerStep("sgd", learning_rate=0.7, momentum=0.9)


def dropping_network() -> keras.Model:
    """Two layers with dropout, and a penalty."""
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(8, "tanh"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def run(given, n_rounds=3, chosen=None, engine=None, state=None):
    """States after each round, and what the last one told."""
    state = state or start(given)
    states = []
    everybody = np.arange(len(given.clients))
    with (engine or TFFEngine()).open(given, state) as running:
        for _ in range(n_rounds):
            report = running.round(everybody if chosen is None else chosen)
            states.append(running.state)
    return states, report


def expected(given, n_rounds=3, chosen=None, limit=None):
    states = []
    for _ in range(n_rounds):
        states.append(reference(given, 1, states[-1] if states else None, chosen, limit))
    return states


def assert_same(states, others):
    assert len(states) == len(others)
    for state, other in zip(states, others, strict=True):
        assert state.round == other.round
        np.testing.assert_allclose(state.weights, other.weights, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "options", "chosen"),
    [
        (dropping_network, {"has_weights": True, "local_epochs": 2}, [0, 1, 2]),
        # statistics must not see the server's step
        (
            normalized_network,
            {"algorithm": FedAvg(weighted=False), "server_step": MOMENTUM},
            [0, 1, 2],
        ),
        (normalized_network, {"algorithm": FedProx(mu=0.8)}, [0, 1, 2]),
        (recurrent_network, {}, [0, 2]),
        (dropping_network, {"algorithm": FedSGD()}, [1]),
    ],
    ids=[
        "mlp-dropout-penalty-row-weights",
        "cnn-unweighted-momentum",
        "cnn-fedprox",
        "lstm",
        "fedsgd",
    ],
)
def test_three_rounds_are_those_of_a_plain_loop(build, options, chosen):
    given = federation(build, **options)
    states, report = run(given, chosen=chosen)
    assert_same(states, expected(given, chosen=chosen))
    assert report.clients == chosen and not report.dropped
    assert report.bytes_down == report.bytes_up == len(chosen) * 4 * given.layout.size
    others, embedded = run(given, chosen=np.array(chosen), engine=EmbeddedEngine())
    assert_same(states, others)
    assert report.score == pytest.approx(embedded.score)
    # there FedProx counts its own term too
    near = 1e-2 if isinstance(given.algorithm, FedProx) else 1e-5
    assert report.loss == pytest.approx(embedded.loss, rel=near)
    assert (report.bytes_up, report.bytes_down) == (embedded.bytes_up, embedded.bytes_down)


@pytest.mark.parametrize(
    "step",
    [
        MOMENTUM,
        ServerStep("sgd", learning_rate=0.7, momentum=0.9, nesterov=True),
        ADAM,
        ServerStep("adagrad", learning_rate=0.1, beta_1=0.5, initial=0.01),
        ServerStep("fed_adam", learning_rate=0.1),
        ServerStep("fed_yogi", learning_rate=0.1),
    ],
    ids=lambda step: step.rule + "-nesterov" * dict(step.settings).get("nesterov", False),
)
def test_server_steps_and_their_states_are_ours(step):
    given = federation(linear_network, server_step=step)
    states, _ = run(given)
    others = expected(given)
    assert_same(states, others)
    for part, other in zip(states[-1].rule, others[-1].rule, strict=True):
        np.testing.assert_allclose(part, other, atol=1e-5)


def test_going_on_from_a_state_is_going_on():
    given = federation(linear_network, server_step=ADAM)
    robust = TFFEngine(clipping=True)
    whole, _ = run(given, 3, engine=robust)
    first, _ = run(given, 1, engine=robust)
    rest, _ = run(given, 2, engine=robust, state=first[0])
    assert whole[0].engine  # the norm that is clipped to
    np.testing.assert_array_equal(whole[-1].weights, rest[-1].weights)


def test_loss_and_score_are_means_over_the_rows_met():
    given = federation(dropping_network, local_epochs=2, learning_rate=1e-12)
    given.model.layers[1].rate = given.model.layers[3].rate = 0.0
    _, report = run(given, 1)
    x, y = (np.concatenate([getattr(part, n) for part in given.clients.data]) for n in "xy")
    outputs = given.model(x)
    loss = given.loss(y, outputs) + sum(given.model.losses)
    assert report.loss == pytest.approx(float(loss), rel=1e-5)
    assert report.score == pytest.approx(np.mean(np.argmax(outputs, axis=1) == y))
    assert np.isnan(run(federation(linear_network), 1)[1].score)


@pytest.mark.parametrize("algorithm", [FedAvg(weighted=False), FedProx(mu=0.1)], ids=repr)
def test_a_client_that_is_not_finite_is_left_out_and_named(algorithm):
    given = federation(linear_network, algorithm=algorithm)
    bad = given.clients.data[1]
    given.clients.data[1] = replace(bad, x=np.where(bad.x > 0.5, np.nan, bad.x).astype(np.float32))
    states, report = run(given)
    assert_same(states, expected(given, chosen=[0, 2]))
    assert report.clients == [0, 2]
    assert report.dropped == {1: "its update is not finite"}
    assert np.isfinite(report.loss)


def test_rounds_that_nobody_is_in_leave_the_model_as_it_was():
    given = federation(linear_network, server_step=ADAM)
    given.clients.data[:] = [
        replace(given.clients.data[0], x=np.full((13, 3), np.inf, np.float32)),
        OSError("no such file"),
        given.clients.data[2],
    ]
    begin = start(given)
    with TFFEngine().open(given, begin) as running:
        report = running.round(np.array([0, 1]))
        np.testing.assert_array_equal(running.state.weights, begin.weights)
        assert running.state.round == 1 and not report.clients and np.isnan(report.loss)
        assert report.dropped == {
            0: "its update is not finite",
            1: "its rows could not be read: no such file",
        }
        report = running.round(np.array([], int))
        np.testing.assert_array_equal(running.state.weights, begin.weights)
        assert running.state.round == 2 and report.clients == [] and report.dropped == {}


def test_clipping_to_a_norm():
    def shortened(delta):
        return delta * min(1, 0.05 / np.linalg.norm(delta))

    given = federation(normalized_network, aggregator=NormClipping(norm=0.05))
    assert_same(run(given, 2)[0], expected(given, 2, limit=shortened))


def test_zeroing_leaves_out_huge_updates():
    given = federation(linear_network)
    bad = given.clients.data[0]
    given.clients.data[0] = Batch(bad.x, bad.y * 1e6)

    def zeroed(delta):
        return np.where(np.abs(delta).max() > 10, 0, delta)

    states, _ = run(given, 1, engine=TFFEngine(zeroing=10.0))
    assert_same(states, expected(given, 1, limit=zeroed))


def test_quantised_updates_are_near_and_small():
    given = federation(dropping_network)
    small = replace(given, communication=QuantizedUpdates(bits=8, error_feedback=False))
    states, report = run(small, 1)
    exact = expected(given, 1)[0].weights
    assert 1e-7 < np.abs(states[0].weights - exact).max() < 0.01
    assert report.bytes_up < report.bytes_down / 2


def test_private_rounds_without_noise_are_clipped_sums():
    plan = SimpleNamespace(
        level="client", noise_multiplier=0.0, clip_norm=0.05, clients_per_round=4.0
    )
    given = federation(linear_network, privacy=plan)
    states, _ = run(given, 1)
    begin = start(given)
    alike = replace(given, algorithm=FedAvg(weighted=False))
    mean = expected(alike, 1, limit=lambda d: d * min(1, 0.05 / np.linalg.norm(d)))[0].weights
    np.testing.assert_allclose(
        states[0].weights, begin.weights + (mean - begin.weights) * 3 / 4, atol=1e-5
    )


def test_private_rounds_are_noisy_even_if_nobody_is_drawn():
    plan = SimpleNamespace(
        level="client", noise_multiplier=1.0, clip_norm="adaptive", clients_per_round=30.0
    )
    given = federation(linear_network, privacy=plan)
    states, _ = run(given, 2)
    empty, report = run(given, 1, chosen=np.array([], int), state=states[-1])
    assert np.abs(empty[0].weights - states[-1].weights).max() > 0
    assert states[-1].engine and empty[0].engine
    assert not report.clients


def test_another_clipping_starts_with_its_own_numbers():
    """TFF keeps norm, noise and denominator in a state, which is not of other ones."""

    def clipped(norm, n_clients):
        plan = SimpleNamespace(
            level="client", noise_multiplier=0.0, clip_norm=norm, clients_per_round=n_clients
        )
        return federation(linear_network, privacy=plan)

    first = run(clipped(0.05, 3.0), 1)[0][-1]
    later = run(clipped(0.5, 30.0), 1, state=first)[0][-1]
    fresh = run(clipped(0.5, 30.0), 1, state=replace(first, engine={}))[0][-1]
    np.testing.assert_array_equal(later.weights, fresh.weights)
    same = run(clipped(0.05, 3.0), 1, state=first)[0][-1]
    assert np.linalg.norm(same.weights - first.weights) <= 0.05 + 1e-6


def test_a_network_that_cannot_travel_is_refused_with_the_engine_that_can():
    class Counting(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.n_calls = tf.Variable(0.0)  # of TensorFlow, so Keras does not list it

        def call(self, x):
            return x + self.n_calls

    given = federation(
        lambda: keras.Sequential([keras.Input((3,)), Counting(), keras.layers.Dense(3, "softmax")])
    )
    with pytest.raises(ValueError, match="engine='tff' cannot take this network.*'embedded'"):
        run(given, 1)


def test_constants_of_a_network_travel():
    given = federation(
        lambda: keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]),
                keras.layers.Dense(3, "softmax"),
            ]
        )
    )
    assert_same(run(given, 1)[0], expected(given, 1))


def test_an_answer_that_nobody_waited_for_is_not_taken_for_another(monkeypatch):
    given = federation(linear_network)
    with TFFEngine().open(given, start(given)) as running:

        def interrupted(*args, **header):
            raise KeyboardInterrupt

        worker = running._worker
        monkeypatch.setattr(worker, "ask", interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt):
            running.round(np.arange(3))
        assert running.worker_pid is None  # the next round starts another
        assert running.state.round == 0


def test_an_estimator_may_change_its_engine_between_rounds():
    from autokit.federated import FederatedTrainer

    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y, groups = np.where(X[:, 0] > 0, "yes", "no"), rng.integers(0, 4, 60)
    trainer = FederatedTrainer(algorithm="fedadam", n_rounds=2, random_state=0)
    embedded = trainer.fit(X, y, client_ids=groups)
    probabilities, losses = embedded.predict_proba(X), embedded.history_["loss"]
    trainer.set_params(n_rounds=1).fit(X, y, client_ids=groups)
    trainer.set_params(engine="tff").partial_fit(X, y, client_ids=groups)
    np.testing.assert_allclose(trainer.history_["loss"], losses, atol=1e-5)
    np.testing.assert_allclose(trainer.predict_proba(X), probabilities, atol=1e-5)
