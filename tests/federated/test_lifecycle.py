"""FederatedTrainer: going on under other parameters, and trainings that fail before a round."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from autokit import FederatedRegressor, FederatedTrainer, load, save
from autokit._backend import keras
from autokit.privacy import DifferentialPrivacy
from autokit.testing.federations import (
    assert_same,
    blobs,
    by_client,
    dense_network,
    normalized_network,
)

X, Y, IDS = blobs()
CLIENTS = by_client(X, Y, IDS)
SETTINGS = {"model": dense_network, "n_rounds": 2, "batch_size": 10, "random_state": 0}
PRIVACY = DifferentialPrivacy(8.0, 1e-3, accountant="rdp")


def trainer(**parameters):
    return FederatedTrainer(**SETTINGS | parameters)


def go_on(kind, estimator):
    if kind == "partial_fit":
        return estimator.partial_fit(X, Y, client_ids=IDS)
    return estimator.fit_clients(CLIENTS, resume=True)


WAYS = ("partial_fit", "fit_clients")


@pytest.mark.parametrize("way", WAYS)
def test_privacy_cannot_be_switched_on_afterwards(way, tmp_path):
    plain = trainer().fit(X, Y, client_ids=IDS)
    saved = load(save(plain, tmp_path / "plain.autokit")).set_params(model=dense_network)
    for estimator in (plain, saved):
        weights = estimator.model_.get_weights()
        estimator.set_params(privacy=PRIVACY)
        with pytest.raises(ValueError, match="trained without privacy, .* call fit, which starts"):
            go_on(way, estimator)
        assert not hasattr(estimator, "ledger_")
        assert estimator.n_rounds_ == 2
        for before, after in zip(weights, estimator.model_.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)
    assert plain.fit(X, Y, client_ids=IDS).ledger_.n_steps == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_round_without_privacy_ends_its_claim(way):
    private = trainer(privacy=PRIVACY).partial_fit(X, Y, client_ids=IDS)
    assert go_on(way, private).ledger_.n_steps == 2
    private.set_params(privacy=None, callbacks=[None])
    with pytest.raises(ValueError, match="'callbacks'"):
        go_on(way, private)
    assert private.ledger_.n_steps == 2  # no such round was finished
    go_on(way, private.set_params(callbacks=None))
    assert not hasattr(private, "ledger_")
    private.set_params(privacy=PRIVACY)
    with pytest.raises(ValueError, match="trained without privacy"):
        go_on(way, private)


def test_what_hid_clients_does_not_hide_rows():
    private = trainer(privacy=PRIVACY).fit(X, Y, client_ids=IDS)
    private.set_params(privacy=DifferentialPrivacy(8.0, 1e-3, level="example", accountant="rdp"))
    with pytest.raises(ValueError, match="level 'client'.*is 'example'"):
        private.partial_fit(X, Y, client_ids=IDS)


def images():
    """Two clients whose pixels have other ranges."""
    rng = np.random.default_rng(0)
    y = np.arange(60) // 2 % 2
    rows = rng.normal(size=(60, 6, 6, 1)).astype(np.float32) + y[:, None, None, None]
    ids = np.arange(60) % 2
    rows[ids == 1] = 5 * rows[ids == 1] + 20
    return rows, y, ids


def test_batch_normalisation_that_is_averaged_again(tmp_path):
    rows, y, ids = images()
    local = trainer(model=normalized_network, batch_norm="local").fit(rows, y, client_ids=ids)
    mean = [w.copy() for w in local.model_.layers[1].get_weights()]
    kept = local._state.kept
    saved = load(save(local, tmp_path / "local.autokit")).set_params(model=normalized_network)
    for estimator in (local, saved):
        estimator.set_params(batch_norm="average", client_learning_rate=1e-12)
        estimator.partial_fit(rows, y, client_ids=ids)
        gamma, beta, average, _ = estimator.model_.layers[1].get_weights()
        np.testing.assert_allclose(gamma, mean[0])  # the mean is gone on from
        np.testing.assert_allclose(beta, mean[1], atol=1e-7)
        assert not np.allclose(average, mean[2])  # and followed
        assert not any("local" in own for own in estimator._state.kept.values())
        table = estimator.evaluate_clients(rows, y, ids)
        for k in (0, 1):
            score = estimator.score(rows[ids == k], y[ids == k])
            assert table.loc[k, "score"] == pytest.approx(score)
    assert all("local" in own for own in kept.values())  # what was before is not written to
    estimator.set_params(batch_norm="local").partial_fit(rows, y, client_ids=ids)
    assert all("local" in own for own in estimator._state.kept.values())


def test_other_things_clients_keep_are_kept_when_averaged_again():
    rows, y, ids = images()
    settings = {"model": normalized_network, "algorithm": "scaffold"}
    local = trainer(**settings, batch_norm="local").fit(rows, y, client_ids=ids)
    before = local._state.kept
    local.set_params(batch_norm="average", callbacks=[None])
    with pytest.raises(ValueError, match="'callbacks'"):
        local.partial_fit(rows, y, client_ids=ids)
    assert local._state.kept is before
    local.set_params(callbacks=None).partial_fit(rows, y, client_ids=ids)
    assert [list(own) for own in local._state.kept.values()] == [["variate"]] * 2


class Interrupting(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        raise KeyboardInterrupt


WRONG = {
    "client_ids": ({}, {"client_ids": IDS[:9]}),
    "X": ({}, {"X": X[:, :0]}),
    "y": ({}, {"y": np.where(Y == 0, np.nan, Y)}),
    "sample_weight": ({}, {"sample_weight": np.full(150, np.nan)}),
    "validation_data": ({}, {"validation_data": (X, Y + 5)}),
    "model": ({"model": lambda shape, n: 3}, {}),
    "aggregator": ({"aggregator": "krum", "clients_per_round": 1}, {}),
    "interrupt": ({"callbacks": Interrupting()}, {}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_fit_without_a_round_leaves_the_estimator_as_it_was(wrong):
    parameters, arguments = WRONG[wrong]
    arguments = {"X": X, "y": Y, "client_ids": IDS} | arguments
    fresh = trainer(**parameters)
    given = set(vars(fresh))
    if wrong == "aggregator":
        fresh.set_params(aggregator=_krum())
    methods = [fresh.fit]
    if wrong != "validation_data":
        methods.append(fresh.partial_fit)
    for method in methods:
        with pytest.raises((ValueError, KeyboardInterrupt)):
            method(**arguments)
        assert set(vars(fresh)) == given
        for unfitted in (lambda: fresh.predict(X), lambda: fresh.evaluate_clients(X, Y, IDS)):
            with pytest.raises(NotFittedError):
                unfitted()
    good = trainer().fit(X, Y, client_ids=IDS)
    proba, history = good.predict_proba(X), dict(good.history_)
    good.set_params(**{k: v for k, v in fresh.get_params(deep=False).items() if k in parameters})
    with pytest.raises((ValueError, KeyboardInterrupt)):
        good.fit(**arguments)
    np.testing.assert_array_equal(good.predict_proba(X), proba)
    assert good.history_ == history
    good.set_params(**SETTINGS, callbacks=None, aggregator="mean", clients_per_round=None)
    assert_same(good.partial_fit(X, Y, client_ids=IDS), trainer(n_rounds=3).fit(X, Y, IDS))


def _krum():
    from autokit.federated import Krum

    return Krum(2)


@pytest.mark.parametrize(
    "clients",
    [7, {"a": (X, Y[:3])}, {"a": (X, np.full(150, np.nan))}, {"a": lambda: 1 / 0}, [("no.npz")]],
    ids=["no clients", "lengths", "nan", "function", "file"],
)
def test_clients_without_a_round_leave_the_estimator_as_it_was(clients):
    fresh = trainer()
    given = set(vars(fresh))
    good = trainer().fit_clients(CLIENTS)
    proba = good.predict_proba(X)
    for estimator in (fresh, good):
        for resume in (False, True):
            with pytest.raises((ValueError, OSError)):
                estimator.fit_clients(clients, resume=resume)
    assert set(vars(fresh)) == given
    np.testing.assert_array_equal(good.predict_proba(X), proba)
    assert good.client_names_ == list(CLIENTS)


def test_partial_fit_says_which_classes_do_not_go():
    for wrong in ([0, 1], [5]):
        with pytest.raises(ValueError, match="classes"):
            trainer().partial_fit(X, Y, client_ids=IDS, classes=wrong)
    with pytest.raises(ValueError, match="classes .*y has labels .*such as 2; .*0, 1"):
        trainer().partial_fit(X, Y, client_ids=IDS, classes=[0, 1])
    going = trainer().partial_fit(X, Y, client_ids=IDS, classes=[0, 1, 2, 3])
    going.partial_fit(X, Y, client_ids=IDS, classes=[3, 2, 1, 0])
    with pytest.raises(ValueError, match="`classes=.* is not the same as on last call"):
        going.partial_fit(X, Y, client_ids=IDS, classes=[0, 1, 2])
    assert going.n_rounds_ == 2
    weight = np.where(Y == 2, 0.0, 1.0)  # rows that count as absent have no class
    trainer().partial_fit(X, Y, client_ids=IDS, classes=[0, 1], sample_weight=weight)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((X, Y[:5]), "validation_data: .* X has 150, y has 5"),
        ((X, Y + 5), "validation_data: y has labels that were not in fit, such as 5"),
        ((X[:, :2], Y), "validation_data: X has 2 features"),
        ((X, None), "validation_data: y must be"),
    ],
)
def test_validation_data_is_named(rows, message):
    with pytest.raises(ValueError, match=message):
        trainer().fit(X, Y, client_ids=IDS, validation_data=rows)
    with pytest.raises(ValueError, match="validation_data: X has 2 features"):
        FederatedRegressor(n_rounds=1).fit(X, Y, validation_data=(X[:, :2], Y))


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ([print], "'callbacks' parameter must hold instances of keras.callbacks.Callback; got .*"),
        ([None], "'callbacks' parameter must hold instances .* got None"),
        (
            [keras.callbacks.EarlyStopping],
            r"'callbacks' parameter is the class EarlyStopping; give .* EarlyStopping\(\)",
        ),
        (
            keras.callbacks.ReduceLROnPlateau(),
            "'callbacks' parameter holds a ReduceLROnPlateau, which needs an optimizer",
        ),
        ([keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)], "LearningRateScheduler, whi"),
        ([keras.callbacks.TensorBoard()], "TensorBoard, which"),
        ([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)], "SwapEMAWeights, which"),
    ],
)
def test_callbacks_that_cannot_work_are_refused(callbacks, message):
    with pytest.raises(ValueError, match=message):
        trainer(callbacks=callbacks).fit(X, Y, client_ids=IDS)


@pytest.mark.parametrize("name", ["n_rounds", "clients_per_round", "local_epochs", "batch_size"])
def test_a_boolean_is_no_number(name):
    with pytest.raises(ValueError, match=f"'{name}' parameter .* Got True"):
        trainer(**{name: True}).fit(X, Y, client_ids=IDS)
