"""Clients that fail, lie or go away."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split

from autokit._backend import keras
from autokit.federated import (
    EmbeddedEngine,
    FederatedTrainer,
    FederatedWarning,
    Krum,
    MultiKrum,
    TrimmedMean,
    partition_iid,
)
from autokit.testing.federations import (
    blobs,
    dense_network,
    one_after_the_other,
)
from autokit.training import TrainingDiverged

X, Y, IDS = blobs()
SETTINGS = {
    "model": dense_network,
    "n_rounds": 8,
    "batch_size": 10,
    "client_learning_rate": 0.3,
    "random_state": 0,
}


def finite(trainer):
    return all(np.isfinite(weights).all() for weights in trainer.model_.get_weights())


def test_a_client_that_is_not_finite_is_dropped_and_named():
    poisoned = X.copy()
    poisoned[IDS == 3] = 3e38
    names = np.array(["a", "b", "c", "d", "e"])[IDS]
    results = []
    for context in (warnings.catch_warnings, one_after_the_other):
        with context():
            trainer = FederatedTrainer(**SETTINGS).fit(poisoned, Y, client_ids=names)
        assert trainer.history_["dropped"] == [{"d": "its update is not finite"}] * 8
        assert trainer.history_["clients"] == [["a", "b", "c", "e"]] * 8
        assert np.isfinite(trainer.history_["loss"]).all()
        assert finite(trainer)
        results.append(trainer.score(X, Y))
    assert min(results) > 0.9


def test_all_clients_not_finite_end_the_training_and_keep_what_there_was():
    class Spoil(keras.callbacks.Callback):
        """A rate that is far too high from the third round on."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                rows[0] = np.full_like(X, 3e38)

    rows = [X]
    clients = {"a": lambda: (rows[0], Y), "b": lambda: (rows[0], Y)}
    trainer = FederatedTrainer(**SETTINGS, callbacks=Spoil())
    with pytest.raises(
        TrainingDiverged, match="No client .* lower 'client_learning_rate'.* is 0.3"
    ):
        trainer.fit_clients(clients)
    assert trainer.n_rounds_ == len(trainer.history_["loss"]) == 2
    assert np.isfinite(trainer.history_["loss"]).all()
    assert finite(trainer)
    rows[0] = X
    assert trainer.score(X, Y) > 0.6
    trainer.set_params(callbacks=None).fit_clients(clients, resume=True)
    assert trainer.n_rounds_ == 10
    straight = FederatedTrainer(**SETTINGS).set_params(n_rounds=10).fit_clients(clients)
    np.testing.assert_array_equal(trainer.predict_proba(X), straight.predict_proba(X))


def test_a_first_round_that_fails_leaves_the_estimator_unfitted():
    trainer = FederatedTrainer(**SETTINGS).set_params(client_learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match="it is 1e\\+30"):
        trainer.fit(X, Y, client_ids=IDS)
    with pytest.raises(NotFittedError):
        trainer.predict(X)
    for wrong in ({"server_optimizer": "rmsprop"}, {"aggregator": Krum(2)}):
        trainer = FederatedTrainer(**SETTINGS | wrong)
        with pytest.raises(ValueError):
            trainer.fit(X, Y, client_ids=IDS)
        assert not hasattr(trainer, "model_")
    trainer = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS)
    with pytest.raises(TrainingDiverged):
        trainer.set_params(client_learning_rate=1e30).partial_fit(X, Y, client_ids=IDS)
    assert trainer.n_rounds_ == len(trainer.history_["loss"]) == 8
    assert finite(trainer)
    assert trainer.score(X, Y) > 0.9


def test_training_goes_on_when_clients_drop_out():
    trainer = FederatedTrainer(engine=EmbeddedEngine(dropouts=0.3), **SETTINGS)
    trainer.fit(X, Y, client_ids=IDS)
    dropped = trainer.history_["dropped"]
    assert 4 <= sum(map(len, dropped)) <= 22
    assert all(set(why.values()) <= {"it dropped out"} for why in dropped)
    assert trainer.score(X, Y) > 0.9
    again = FederatedTrainer(engine=EmbeddedEngine(dropouts=0.3), **SETTINGS)
    again.fit(X, Y, client_ids=IDS)
    assert again.history_ == trainer.history_


def test_a_round_without_clients_leaves_the_model_and_warns():
    trainer = FederatedTrainer(engine=EmbeddedEngine(dropouts=0.9), **SETTINGS)
    with pytest.warns(FederatedWarning, match="None of the 2 clients of a round .*it dropped out"):
        trainer.set_params(n_rounds=12).fit(X, Y, client_ids=IDS % 2)
    empty = [not clients for clients in trainer.history_["clients"]]
    assert any(empty)
    assert [np.isnan(loss) for loss in trainer.history_["loss"]] == empty
    assert trainer.n_rounds_ == 12
    assert finite(trainer)


def test_stragglers_take_part():
    trainer = FederatedTrainer(engine=EmbeddedEngine(stragglers=0.5), **SETTINGS)
    trainer.fit(X, Y, client_ids=IDS)
    assert trainer.history_["clients"] == [[0, 1, 2, 3, 4]] * 8
    assert trainer.score(X, Y) > 0.9


def test_krum_goes_on_when_clients_drop_out():
    trainer = FederatedTrainer(
        engine=EmbeddedEngine(dropouts=0.3), aggregator=Krum(0.4), **SETTINGS
    )
    trainer.fit(X, Y, client_ids=IDS)
    assert 0 < min(map(len, trainer.history_["clients"])) < 4
    with pytest.raises(ValueError, match="'aggregator' parameter is .* need at least 7 updates"):
        FederatedTrainer(aggregator=Krum(2), **SETTINGS).fit(X, Y, client_ids=IDS)


@pytest.fixture(scope="module")
def digits():
    """Ten clients, two of which are hostile."""
    rows, y = load_digits(return_X_y=True)
    rows = (rows / 16).astype(np.float32)
    X, X_test, y, y_test = train_test_split(rows, y, random_state=0)
    return X, y, partition_iid(y, 10, random_state=0), X_test, y_test


def dense(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(16, "relu"),
            keras.layers.Dense(n_outputs, "softmax"),
        ]
    )


ROBUST = ("median", TrimmedMean(0.2), Krum(2), MultiKrum(2))
ATTACKED = {"model": dense, "n_rounds": 20, "client_learning_rate": 0.5, "random_state": 0}


class Lying(EmbeddedEngine):
    """Two clients send the opposite of what they learnt, five times."""

    def open(self, federation, state):
        own = federation.aggregator

        class Attacked(type(own)):
            is_mean = False

            def combine(self, updates, weights):
                updates = updates.copy()
                updates[:2] *= -5
                return own.combine(updates, weights)

        return super().open(_with(federation, Attacked(**own.get_params())), state)


def _with(federation, aggregator):
    from dataclasses import replace

    return replace(federation, aggregator=aggregator)


@pytest.mark.parametrize("aggregator", ["mean", *ROBUST], ids=str)
def test_clients_that_turn_their_updates_around(digits, aggregator):
    X, y, client_ids, X_test, y_test = digits
    trainer = FederatedTrainer(aggregator=aggregator, engine=Lying(), **ATTACKED)
    score = trainer.fit(X, y, client_ids=client_ids).score(X_test, y_test)
    assert score < 0.4 if aggregator == "mean" else score > 0.8


@pytest.mark.parametrize("aggregator", ["mean", *ROBUST], ids=str)
def test_clients_that_turn_their_labels_around(digits, aggregator):
    """And train on them long and hard."""
    X, y, client_ids, X_test, y_test = digits
    y = np.where(client_ids < 2, 9 - y, y)
    # what is repeated weighs more in the mean, and is learnt longer
    places = np.concatenate([np.arange(len(y)), *[np.flatnonzero(client_ids < 2)] * 9])
    trainer = FederatedTrainer(aggregator=aggregator, **ATTACKED)
    score = trainer.fit(X[places], y[places], client_ids=client_ids[places]).score(X_test, y_test)
    assert score < 0.5 if aggregator == "mean" else score > 0.8
