"""The embedded engine: against a plain loop, side by side and one after the other."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from autokit._backend import keras
from autokit.federated import (
    EmbeddedEngine,
    FedAvg,
    FedAvgM,
    FederatedTrainer,
    FedProx,
    FedSGD,
    Median,
    QuantizedUpdates,
    Scaffold,
)
from autokit.federated.engines import collector, embedded
from autokit.federated.engines.collector import Collector
from autokit.federated.schedule import batches
from autokit.testing.federated_engines import EngineContract
from autokit.testing.federations import (
    blobs,
    counted_traces,
    dense_network,
    federation,
    linear_network,
    normalized_network,
    one_after_the_other,
    recurrent_network,
    reference,
    run,
    start,
)


class TestEmbeddedEngine(EngineContract):
    def make_engine(self):
        return EmbeddedEngine()


def convolutions():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_regularizer="l1"),
        ]
    )


def branches():
    inputs = keras.Input((4,))
    left = keras.layers.LayerNormalization()(keras.layers.Dense(5)(inputs))
    right = keras.layers.Dense(5, "tanh")(inputs)
    hidden = keras.layers.Concatenate()([keras.layers.Add()([left, right]), inputs])
    return keras.Model(inputs, keras.layers.Dense(3, "softmax")(hidden))


def dropping():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dropout(0.4),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dropout(0.4),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def frozen():
    model = dense_network()
    model.layers[0].trainable = False
    return model


# network -> whether its clients are trained side by side
NETWORKS = {
    dense_network: True,
    linear_network: True,
    branches: True,
    frozen: True,
    convolutions: True,
    normalized_network: False,
    recurrent_network: False,
    dropping: False,
}


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_equals_a_plain_loop(build):
    """Unequal clients, small last batches, weighted rows, penalties; side by side and not."""
    losses = keras.losses
    changes = {"loss": losses.SparseCategoricalCrossentropy(from_logits=True)}
    given = federation(
        build,
        (13, 7, 22, 1),
        has_weights=True,
        local_epochs=2,
        **(changes if build is convolutions else {}),
    )
    assert Collector(given).side_by_side == NETWORKS[build]
    expected = reference(given)
    np.testing.assert_allclose(run(given).weights, expected.weights, atol=1e-5)
    if NETWORKS[build]:
        with one_after_the_other():
            assert not Collector(given).side_by_side
            np.testing.assert_allclose(run(given).weights, expected.weights, atol=1e-5)


@pytest.mark.parametrize("build", [dense_network, recurrent_network])
def test_losses_and_scores_are_those_of_the_rows_met(build):
    given = federation(build, (9, 4), learning_rate=1e-12, batch_size=4, local_epochs=2)
    with EmbeddedEngine().open(given, start(given)) as running:
        report = running.round(np.arange(2))
    rows = [given.clients.batch(k) for k in range(2)]
    x, y = (np.concatenate([getattr(part, name) for part in rows]) for name in "xy")
    outputs = given.model(x).numpy()
    loss = -np.log(outputs[np.arange(13), y]).mean() + float(sum(given.model.losses))
    assert report.loss == pytest.approx(loss, rel=1e-5)
    assert report.score == pytest.approx(np.mean(outputs.argmax(axis=1) == y))


def test_regression_has_no_score():
    given = federation(linear_network)
    with EmbeddedEngine().open(given, start(given)) as running:
        report = running.round(np.arange(3))
    assert np.isnan(report.score)
    assert np.isfinite(report.loss)


def test_dropout_differs_by_client_and_round_and_not_by_run():
    given = federation(dropping, (10, 10), learning_rate=0.5, batch_size=10)
    rows = given.clients.data[0]
    given.clients.data[1] = rows
    ends = [run(given, n_rounds=1, chosen=[k]).weights for k in (0, 1, 0)]
    assert not np.allclose(ends[0], ends[1], atol=1e-4)
    np.testing.assert_array_equal(ends[0], ends[2])
    later = replace(start(given), round=1)
    assert not np.allclose(run(given, n_rounds=1, state=later, chosen=[0]).weights, ends[0])


def test_no_round_traces_again():
    given = federation(sizes=(9, 30, 12, 25, 18, 6), batch_size=5)
    for context in (counted_traces, one_after_the_other):
        with counted_traces() as traces, context():
            with EmbeddedEngine().open(given, start(given)) as running:
                for chosen in (range(6), range(5), (0, 1, 2, 3, 5), (1, 2, 3, 4, 5), range(6)):
                    running.round(np.array(chosen))
        assert len(traces) <= 1


def test_few_traces_serve_rounds_of_any_size():
    given = federation(sizes=(8,) * 30, batch_size=4)
    with counted_traces() as traces, EmbeddedEngine().open(given, start(given)) as running:
        for n_clients in (30, 10, 20, 29, 11, 9, 10, 21, 30, 27, 25):
            running.round(np.arange(n_clients))
    assert len(traces) <= 5


def test_equal_federations_share_a_trace():
    X, y, client_ids = blobs()
    with counted_traces() as traces:
        for rate, epochs in ((0.1, 1), (0.2, 1), (0.1, 2)):
            FederatedTrainer(
                dense_network,
                n_rounds=2,
                client_learning_rate=rate,
                local_epochs=epochs,
                random_state=0,
            ).fit(X, y, client_ids=client_ids)
    assert len(traces) == 1


def relu(x):
    """Not Keras', but of the same name: nothing is learnt behind it."""
    return 0 * x


@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_function_of_the_users_is_trained_with(side_by_side):
    def network(activation):
        layers = [keras.layers.Dense(4, activation=activation), keras.layers.Dense(3, "softmax")]
        return keras.Sequential([keras.Input((4,)), *layers])

    assert not Collector(federation(lambda: network(relu))).side_by_side
    X, y, client_ids = blobs()
    with nullcontext() if side_by_side else one_after_the_other():
        for activation, learns in (("relu", True), (relu, False), (lambda x: x, True)):
            trainer = FederatedTrainer(
                lambda *_, activation=activation: network(activation), n_rounds=2, random_state=0
            )
            found = trainer.fit(X, y, client_ids=client_ids).model_
            # its bias begins at zero
            assert np.any(found.layers[0].bias.numpy()) == learns


def test_an_algorithm_of_the_users_may_be_redefined():
    def ends(factor):
        class Own(FedAvg):
            def objective(self, task, anchor):
                def objective(*parts):
                    step = task(*parts)
                    return step._replace(loss=factor * step.loss)

                return objective

        return run(federation(algorithm=Own()), n_rounds=1)

    with counted_traces() as traces:
        weights = [ends(factor).weights for factor in (1.0, 0.0)]
        assert len(traces) == 2
        assert not collector._kept
    np.testing.assert_array_equal(weights[1], start(federation()).weights)
    assert not np.allclose(weights[0], weights[1])


def test_long_parameters_of_an_algorithm_are_told_apart():
    values = [np.ones(3000) for _ in range(3)]
    values[2][1500] = 2
    keys = [collector._key(federation(algorithm=FedProx(mu=mu)), True) for mu in values]
    assert None not in keys
    assert keys[0] == keys[1] != keys[2]
    assert collector._key(federation(algorithm=FedProx(mu=object())), True) is None


def test_traces_do_not_keep_clients_alive():
    import gc
    import weakref

    given = federation(sizes=(4, 4))
    run(given, n_rounds=1)
    clients = weakref.ref(given.clients)
    del given
    gc.collect()
    assert clients() is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"algorithm": Scaffold()},
        {"algorithm": FedSGD()},
        {"aggregator": Median()},
        {"communication": QuantizedUpdates(bits=4)},
    ],
    ids=str,
)
def test_pieces_do_not_matter(changes, monkeypatch):
    given = federation(sizes=(6, 9, 5, 8, 7), **changes)
    whole = run(given)
    monkeypatch.setattr(embedded, "PIECE_CLIENTS", 2)
    pieces = run(given)
    np.testing.assert_allclose(pieces.weights, whole.weights, atol=1e-6)
    np.testing.assert_allclose(pieces.shared, whole.shared, atol=1e-5)
    monkeypatch.setattr(embedded, "PIECE_BYTES", 1)
    np.testing.assert_allclose(run(given).weights, whole.weights, atol=1e-6)


def test_what_is_held_does_not_grow_with_the_clients():
    """Updates of 400 clients would be 4 MB."""
    import tracemalloc

    def network():
        return keras.Sequential([keras.Input((50,)), keras.layers.Dense(50)])

    peaks = []
    for n_clients in (30, 400):
        given = federation(network, (2,) * 3, loss=keras.losses.SparseCategoricalCrossentropy(True))
        clients = given.clients
        clients.data = [clients.data[k % 3] for k in range(n_clients)]
        clients.names, clients.sizes = list(range(n_clients)), np.full(n_clients, 2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embedded, "PIECE_CLIENTS", 30)
            run(given, n_rounds=1)
            tracemalloc.start()
            run(given, n_rounds=2)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_statistics_of_batch_normalisation_are_averaged():
    given = federation(normalized_network, (12, 24), algorithm=FedAvgM(learning_rate=0.5))
    found, before = run(given, n_rounds=1).weights, start(given).weights
    n = given.layout.n_params
    ends = [run(replace(given), n_rounds=1, chosen=[k]).weights for k in (0, 1)]
    # the server's rate is for parameters; statistics are taken as they are
    expected = np.average([end[n:] for end in ends], axis=0, weights=(12, 24))
    np.testing.assert_allclose(found[n:], expected, atol=1e-6)
    assert not np.allclose(found[n:], before[n:])


def test_stragglers_do_a_part_of_their_steps():
    given = federation(sizes=(40, 40, 40, 40), batch_size=2)
    met = []
    for engine in (EmbeddedEngine(), EmbeddedEngine(stragglers=1.0)):
        collected = []
        own = Collector.collect

        def noted(self, broadcast, work, own=own, collected=collected, **parts):
            collected += [len(part.steps) for part in work]
            return own(self, broadcast, work, **parts)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Collector, "collect", noted)
            run(given, engine)
        met.append(collected)
    assert met[0] == [20] * 12
    assert min(met[1]) >= 1
    assert len(set(met[1])) > 5
    np.testing.assert_array_equal(
        run(given, EmbeddedEngine(stragglers=1.0)).weights,
        run(given, EmbeddedEngine(stragglers=1.0)).weights,
    )


def test_dropouts_are_as_many_as_said():
    given = federation(sizes=(3,) * 40)
    with EmbeddedEngine(dropouts=0.3).open(given, start(given)) as running:
        reports = [running.round(np.arange(40)) for _ in range(5)]
    n_dropped = sum(len(report.dropped) for report in reports)
    assert 40 < n_dropped < 80
    for report in reports:
        assert sorted([*report.clients, *report.dropped]) == list(range(40))
        assert set(report.dropped.values()) <= {"it dropped out"}
        # they were sent to, and sent nothing
        assert report.bytes_down == 40 * 4 * given.layout.size
        assert report.bytes_up == len(report.clients) * 4 * given.layout.size
    assert len({tuple(report.clients) for report in reports}) == 5
    left = reports[0].clients
    found = run(given, EmbeddedEngine(dropouts=0.3), n_rounds=1)
    np.testing.assert_allclose(
        found.weights, run(given, n_rounds=1, chosen=left).weights, atol=1e-6
    )


def test_variates_double_the_bytes():
    given = federation(algorithm=Scaffold())
    with EmbeddedEngine().open(given, start(given)) as running:
        report = running.round(np.arange(3))
    assert report.bytes_down == report.bytes_up == 3 * 2 * 4 * given.layout.size


def test_clients_of_one_row_and_batches_larger_than_clients():
    given = federation(sizes=(1, 2, 1), batch_size=64, local_epochs=3)
    np.testing.assert_allclose(run(given).weights, reference(given).weights, atol=1e-5)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (EmbeddedEngine(dropouts=1.0), "'dropouts' parameter of EmbeddedEngine must be .* Got 1.0"),
        (EmbeddedEngine(stragglers=-0.1), "'stragglers' parameter of EmbeddedEngine"),
        (EmbeddedEngine, "'engine' parameter is the class EmbeddedEngine; give an instance of it"),
        ("spark", "'engine' parameter of FederatedTrainer must be .* Got 'spark'"),
    ],
)
def test_a_wrong_setting_is_named(engine, message):
    X, y, _ = blobs(20)
    with pytest.raises(ValueError, match=message):
        FederatedTrainer(dense_network, engine=engine, n_rounds=1).fit(X, y)


def test_weighted_and_unweighted_differ_only_in_the_mean():
    given = federation(sizes=(5, 50))
    weighted, even = (
        run(replace(given, algorithm=FedAvg(weighted=w)), n_rounds=1).weights for w in (True, False)
    )
    ends = [run(given, n_rounds=1, chosen=[k]).weights for k in (0, 1)]
    np.testing.assert_allclose(weighted, np.average(ends, axis=0, weights=(5, 50)), atol=1e-6)
    np.testing.assert_allclose(even, np.mean(ends, axis=0), atol=1e-6)


def test_a_perceptron_agrees_with_nothing_but_numpy():
    given = federation(plain_perceptron)
    weights = start(given).weights
    for number in range(3):
        deltas, counts = [], []
        for client in range(len(given.clients)):
            data = given.clients.batch(client)
            own = [part.copy() for part in given.layout.arrays(weights)]
            for rows in batches(
                given.seed, number, client, len(data), local_epochs=1, batch_size=given.batch_size
            ):
                own = numpy_step(own, data.x[rows], data.y[rows], given.learning_rate)
            deltas.append(np.concatenate([part.ravel() for part in own]) - weights)
            counts.append(len(data))
        weights = weights + np.average(deltas, axis=0, weights=counts).astype(np.float32)
    np.testing.assert_allclose(run(given).weights, weights, atol=1e-5)


def plain_perceptron():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, "relu"),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def numpy_step(weights, x, y, rate):
    """One step of gradient descent on the cross-entropy of a perceptron with one hidden layer."""
    kernel, bias, kernel_2, bias_2 = weights
    hidden = np.maximum(x @ kernel + bias, 0)
    logits = hidden @ kernel_2 + bias_2
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    proba /= proba.sum(axis=1, keepdims=True)
    proba[np.arange(len(y)), y] -= 1
    error = proba / len(y)
    back = (error @ kernel_2.T) * (hidden > 0)
    gradients = (x.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0))
    return [w - rate * g for w, g in zip(weights, gradients, strict=True)]
