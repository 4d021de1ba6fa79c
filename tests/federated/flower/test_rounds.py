"""Rounds on real processes give what the embedded engine gives."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from autokit.federated import (
    EmbeddedEngine,
    FederatedTrainer,
    FedProx,
    FlowerEngine,
    Median,
    QuantizedUpdates,
    Scaffold,
    TopKUpdates,
)
from autokit.federated.private import private_rounds
from autokit.privacy import DifferentialPrivacy
from autokit.testing.federated_engines import EngineContract
from autokit.testing.federations import (
    dense_network,
    federation,
    normalized_network,
    recurrent_network,
    run,
    start,
)

CASES = {
    "fedprox": (dense_network, {"algorithm": FedProx(mu=0.1)}),
    "scaffold": (recurrent_network, {"algorithm": Scaffold()}),
    "scaffold, statistics": (normalized_network, {"algorithm": Scaffold()}),
    "quantized": (dense_network, {"communication": QuantizedUpdates(bits=4)}),
    "local": (
        normalized_network,
        {"batch_norm": "local", "communication": TopKUpdates(share=0.2)},
    ),
    "median": (recurrent_network, {"aggregator": Median(), "local_epochs": 2}),
}


PLAIN = QuantizedUpdates(error_feedback=False)


class TestContract(EngineContract):
    @pytest.fixture(autouse=True)
    def _started(self, engine):
        self._engine = engine

    def make_engine(self):
        return self._engine


@pytest.mark.parametrize("build, changes", CASES.values(), ids=CASES)
def test_agrees_with_the_embedded_engine(engine, build, changes):
    given = federation(build, has_weights=True, **changes)
    expected, found = run(given), run(given, engine)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-5)
    np.testing.assert_allclose(found.shared, expected.shared, atol=1e-5)
    assert found.kept.keys() == expected.kept.keys()
    for name, own in expected.kept.items():
        for key, value in own.items():
            np.testing.assert_allclose(found.kept[name][key], value, atol=1e-5)


@pytest.mark.parametrize(
    "privacy, changes",
    [
        (DifferentialPrivacy(8.0, 1e-2, clip_norm=0.3), {"communication": PLAIN}),
        (DifferentialPrivacy(8.0, 1e-2, clip_norm="adaptive"), {"algorithm": FedProx(mu=0.1)}),
        (DifferentialPrivacy(8.0, 1e-3, clip_norm=0.5, level="example"), {"local_epochs": 2}),
    ],
)
def test_private_rounds_agree_with_the_embedded_engine(engine, privacy, changes):
    given = federation(sizes=[9] * 12 if privacy.is_adaptive else [9] * 4, **changes)
    given = private_rounds(given, privacy, None, 3, secret=False)
    expected, found = run(given), run(given, engine)
    assert not np.allclose(expected.weights, run(replace(given, privacy=None)).weights, atol=1e-3)
    np.testing.assert_allclose(found.weights, expected.weights, atol=1e-5)
    assert found.privacy == expected.privacy


def test_nodes_are_not_told_where_the_noise_comes_from(flower):
    from autokit.federated.engines.flower.engine import task_of
    from autokit.federated.engines.flower.wire import unpack_objects

    clients, rows = (DifferentialPrivacy(8.0, 1e-2, level=k) for k in ("client", "example"))
    for secret in (False, True):
        given = private_rounds(federation(), clients, None, 3, secret=secret)
        task = unpack_objects(task_of(given))
        assert "privacy" not in task
        assert task["seed"] == given.local_seed != given.seed
    given = private_rounds(federation(), rows, None, 3, secret=True)
    assert unpack_objects(task_of(given))["seed"] is None  # each node has its own


def test_rounds_report_what_the_embedded_engine_reports(engine):
    given = federation(communication=QuantizedUpdates(), algorithm=Scaffold())
    with engine.open(given, start(given)) as running:
        found = running.round(np.arange(3))
    with EmbeddedEngine().open(given, start(given)) as running:
        expected = running.round(np.arange(3))
    assert (found.bytes_up, found.bytes_down) == (expected.bytes_up, expected.bytes_down)
    assert found.loss == pytest.approx(expected.loss, abs=1e-5)
    assert found.score == pytest.approx(expected.score)


def test_many_clients_are_asked_in_parts(engine, monkeypatch):
    from autokit.federated.engines.flower import rounds

    given = federation(sizes=(5, 6, 7, 8, 9))
    monkeypatch.setattr(rounds, "PIECE_BYTES", 4 * given.layout.size)
    np.testing.assert_allclose(run(given, engine).weights, run(given).weights, atol=1e-5)


def test_the_estimator_trains_on_it_with_dropout(engine):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4)).astype(np.float32)
    y = np.where(X[:, 0] > 0, "warm", "cold")
    owner = rng.integers(0, 5, 120)
    settings = {"n_rounds": 3, "clients_per_round": 3, "random_state": 0}
    found = FederatedTrainer(engine=engine, **settings).fit(X, y, client_ids=owner)
    expected = FederatedTrainer(**settings).fit(X, y, client_ids=owner)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=1e-5)
    for name in ("clients", "dropped", "bytes_up", "bytes_down"):
        assert found.history_[name] == expected.history_[name]
    np.testing.assert_allclose(found.history_["loss"], expected.history_["loss"], atol=1e-5)
    found.partial_fit(X, y, client_ids=owner)
    assert found.n_rounds_ == 4


def test_clones_train_on_the_running_processes(engine):
    copy = clone(FederatedTrainer(engine=engine)).engine
    assert isinstance(copy, FlowerEngine)
    assert copy is not engine
    assert copy.get_params() == engine.get_params()
    given = federation()
    with copy.open(given, start(given)) as running:
        assert running.processes == engine._cluster.processes


def test_running_processes_do_not_go_to_other_processes(engine):
    copy = pickle.loads(pickle.dumps(engine))
    assert copy.get_params() == engine.get_params()
    assert not hasattr(copy, "_cluster")


def test_trainings_of_threads_wait_for_each_other(engine):
    given = federation()
    expected = run(given).weights
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda copy: run(given, copy), [engine, clone(engine)]))
    for state in found:
        np.testing.assert_allclose(state.weights, expected, atol=1e-5)


def test_a_training_inside_another_one_is_refused(engine):
    given = federation()
    with (
        engine.open(given, start(given)),
        pytest.raises(RuntimeError, match="in the middle of another training"),
        clone(engine).open(given, start(given)),
    ):
        pass


def test_clones_outlive_the_processes(flower):
    from autokit.federated.engines.flower.cluster import Cluster

    engine = FlowerEngine(n_nodes=0)
    engine._cluster = Cluster(None, None, None, 0)
    copy = clone(engine)
    assert copy._cluster.is_running
    engine._cluster.close()
    assert not copy._cluster.is_running
