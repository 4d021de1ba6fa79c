"""The loop over rounds, and the server's half of one."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from autokit._backend import keras
from autokit.federated import (
    ALGORITHMS,
    EmbeddedEngine,
    FedAvg,
    FederatedTrainer,
    FederatedWarning,
    Median,
    Scaffold,
)
from autokit.federated.protocols import RoundReport, Updates
from autokit.federated.server import Round, broadcast_of
from autokit.federated.steps import ServerStep
from autokit.federated.training import Rounds, run_rounds
from autokit.testing.federations import (
    blobs,
    dense_network,
    federation,
    start,
)
from autokit.training import TrainingDiverged


class Scripted:
    """An engine whose rounds are told; an error in the script is raised."""

    def __init__(self, script):
        self.script = script
        self.opened = self.closed = 0

    def check(self, federation):
        pass

    @contextmanager
    def open(self, federation, state):
        engine = self
        engine.opened += 1

        class Run:
            def __init__(self):
                self.state = state

            def round(self, chosen):
                told = engine.script[self.state.round]
                if isinstance(told, BaseException):
                    raise told
                weights = self.state.weights + 1
                self.state = replace(self.state, round=self.state.round + 1, weights=weights)
                return RoundReport(told, 0.5, chosen.tolist(), {}, 10, 20)

        try:
            yield Run()
        finally:
            engine.closed += 1


@pytest.mark.parametrize("error", [RuntimeError("the engine broke"), KeyboardInterrupt()])
def test_whatever_ends_training_finished_rounds_are_kept(error):
    X, y, client_ids = blobs(30)
    engine = Scripted([0.5, 0.4, error])
    trainer = FederatedTrainer(dense_network, engine=engine, n_rounds=5, random_state=0)
    with pytest.raises(type(error)):
        trainer.fit(X, y, client_ids=client_ids)
    assert engine.opened == engine.closed == 1
    assert trainer.history_["loss"] == [0.5, 0.4]
    assert trainer.n_rounds_ == 2
    assert trainer.history_["bytes_down"] == [10, 10]
    assert trainer.predict(X).shape == (30,)
    engine.script = [0.5, 0.4, 0.3]
    trainer.partial_fit(X, y, client_ids=client_ids)
    assert trainer.history_["loss"] == [0.5, 0.4, 0.3]


def test_a_callback_that_fails_leaves_the_round_before_it():
    class Failing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError("no")

    X, y, client_ids = blobs(30)
    trainer = FederatedTrainer(dense_network, n_rounds=4, callbacks=Failing(), random_state=0)
    with pytest.raises(RuntimeError):
        trainer.fit(X, y, client_ids=client_ids)
    assert trainer.n_rounds_ == len(trainer.history_["loss"]) == 2
    two = FederatedTrainer(dense_network, n_rounds=2, random_state=0)
    two.fit(X, y, client_ids=client_ids)
    np.testing.assert_array_equal(two.predict_proba(X), trainer.predict_proba(X))


def test_rounds_are_noted_as_they_finish():
    given = federation()
    done = Rounds(start(given))
    run_rounds(given, EmbeddedEngine(), done, 2, per_round=None, model=given.model)
    run_rounds(given, EmbeddedEngine(), done, 1, per_round=2, model=given.model)
    assert done.state.round == 3
    assert [len(clients) for clients in done.history["clients"]] == [3, 3, 2]
    assert set(done.history["clients"][0]) == {"client-0", "client-1", "client-2"}


def test_every_list_of_the_history_has_an_entry_a_round():
    X, y, client_ids = blobs(60)
    trainer = FederatedTrainer(
        dense_network, n_rounds=6, engine=EmbeddedEngine(dropouts=0.8), random_state=1
    )
    with pytest.warns(FederatedWarning, match="None of the 5 clients"):
        trainer.fit(X, y, client_ids=client_ids)
    lost = np.isnan(trainer.history_["loss"])
    assert 0 < lost.sum() < 6
    np.testing.assert_array_equal(np.isnan(trainer.history_["score"]), lost)
    trainer.set_params(n_rounds=1, engine="embedded")
    trainer.fit_clients({"all": (X, y)}, validation_data=(X, y), resume=True)
    assert {len(values) for values in trainer.history_.values()} == {7}
    np.testing.assert_array_equal(np.isnan(trainer.history_["val_score"]), [True] * 6 + [False])


def test_what_a_callback_writes_is_what_the_next_round_begins_with():
    class Halving(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.set_weights([w / 2 for w in self.model.get_weights()])

    X, y, client_ids = blobs(30)
    still = {"n_rounds": 3, "client_learning_rate": 1e-12, "random_state": 0}
    plain, halved = (
        FederatedTrainer(dense_network, callbacks=callbacks, **still).fit(X, y, client_ids)
        for callbacks in (None, Halving())
    )
    for one, other in zip(plain.model_.get_weights(), halved.model_.get_weights(), strict=True):
        np.testing.assert_allclose(one / 8, other, atol=1e-8)
    assert len(set(halved.history_["loss"])) == 3


RULES = ["fedavgm", "fedadam", "fedadagrad", "fedyogi", "fedavg"]


@pytest.mark.parametrize("before, after", [*pairwise([*RULES, RULES[0]])])
def test_momenta_are_of_their_own_rule(before, after):
    """Another rule starts afresh, and does not take them for its own."""
    given, other = (federation(algorithm=ALGORITHMS[name]()) for name in (before, after))
    done = Rounds(start(given))
    run_rounds(given, EmbeddedEngine(), done, 2, per_round=None, model=given.model)
    fresh = Rounds(replace(done.state, rule=[]))
    for rounds in (done, fresh):
        run_rounds(other, EmbeddedEngine(), rounds, 1, per_round=None, model=given.model)
    np.testing.assert_array_equal(done.state.weights, fresh.state.weights)


def test_a_server_that_steps_too_far_keeps_the_model_before():
    X, y, client_ids = blobs(30)
    steps = {"server_optimizer": ServerStep("sgd", learning_rate=1e39)}
    trainer = FederatedTrainer(dense_network, n_rounds=1, random_state=0)
    trainer.fit(X, y, client_ids=client_ids)
    before = trainer.predict_proba(X)
    trainer.set_params(**steps)
    with pytest.raises(TrainingDiverged, match="learning_rate.*is not finite.*'server_optimizer'"):
        trainer.partial_fit(X, y, client_ids=client_ids)
    np.testing.assert_array_equal(trainer.predict_proba(X), before)
    assert trainer.n_rounds_ == 1


def answers(clients, deltas, **changes):
    n = len(clients)
    fields = {
        "clients": np.array(clients),
        "deltas": np.asarray(deltas, np.float32),
        "n_rows": np.full(n, 10),
        "n_steps": np.full(n, 2),
        "losses": np.full(n, 5.0),
        "hits": np.full(n, 8.0),
        "n_met": np.full(n, 10),
        "bytes_up": np.full(n, 100),
    }
    return Updates(**fields | changes)


@pytest.mark.parametrize("aggregator", ["mean", "median"])
def test_a_round_takes_what_is_finite(aggregator):
    given = federation(
        sizes=(10,) * 5, **({"aggregator": Median()} if aggregator == "median" else {})
    )
    state, size = start(given), given.layout.size
    gathered = Round(given, state, broadcast_of(given, state))
    deltas = np.tile([[1.0], [np.nan], [3.0]], (1, size))
    deltas[1, 1:] = 0.0
    gathered.add(answers([0, 1, 2], deltas), [{"residual": np.full(size, k)} for k in range(3)])
    lost = answers([3], np.ones((1, size)), losses=np.array([np.inf]))
    gathered.add(lost, [{"residual": np.zeros(size)}])
    gathered.drop(4, "it dropped out")
    after, report = gathered.finish()
    assert report.clients == [0, 2]
    assert report.dropped == {
        1: "its update is not finite", 3: "its update is not finite", 4: "it dropped out"
    }  # fmt: skip
    assert report.loss == pytest.approx(0.5)
    assert report.score == pytest.approx(0.8)
    assert report.bytes_up == 400
    assert report.bytes_down == 5 * 4 * size
    np.testing.assert_allclose(after.weights, state.weights + 2.0, rtol=1e-6)
    assert set(after.kept) == {"client-0", "client-2"}
    assert state.round == 0 and after.round == 1 and not state.kept


def test_a_round_without_answers_changes_nothing_but_its_number():
    given = federation(algorithm=Scaffold())
    state = start(given)
    gathered = Round(given, state, broadcast_of(given, state))
    gathered.drop(0, "it dropped out")
    after, report = gathered.finish()
    np.testing.assert_array_equal(after.weights, state.weights)
    assert after.round == 1
    assert np.isnan(report.loss)
    assert report.clients == []


def test_the_mean_of_many_does_not_lose_what_is_small():
    given = federation(sizes=(10,), algorithm=FedAvg(weighted=False))
    state, size = start(given), given.layout.size
    gathered = Round(given, state, broadcast_of(given, state))
    for _ in range(200):
        gathered.add(answers([0] * 50, np.full((50, size), 1e-3)), [{}] * 50)
    after, _ = gathered.finish()
    np.testing.assert_allclose(after.weights - state.weights, 1e-3, rtol=1e-3)
