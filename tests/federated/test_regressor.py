"""FederatedRegressor: one target and several, in the user's own units."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.metrics import r2_score

from autokit import FederatedRegressor, export_tflite, load, save
from autokit.deploy import TFLiteModel
from autokit.testing.federations import (
    assert_same,
    linear_network,
)

X, Y = load_diabetes(return_X_y=True)
X, Y = X[:200], Y[:200]
IDS = np.arange(200) % 4
SETTINGS = {"n_rounds": 15, "random_state": 0}


@pytest.fixture(scope="module")
def regressor():
    return FederatedRegressor(**SETTINGS).fit(X, Y, client_ids=IDS, validation_data=(X, Y))


def test_learns_and_tells(regressor):
    assert regressor.score(X, Y) > 0.4
    assert list(regressor.history_) == [
        "loss", "val_loss", "val_score", "clients", "dropped", "bytes_down", "bytes_up"
    ]  # fmt: skip
    guesses = regressor.predict(X)
    assert guesses.shape == (200,)
    # in the units of the training, where targets are standardised
    loss = np.mean((guesses - Y) ** 2) / np.var(Y)
    assert regressor.history_["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert 0.7 < regressor.history_["loss"][-1] / loss < 1.5
    table = regressor.evaluate_clients(X, Y, IDS)
    assert table["loss"].mean() == pytest.approx(loss, rel=1e-5)
    assert regressor.history_["val_score"][-1] == pytest.approx(r2_score(Y, guesses))


def test_several_targets(tmp_path):
    both = np.stack([Y, 1e6 - 2e3 * Y], axis=1)
    regressor = FederatedRegressor(**SETTINGS).fit(X, both, client_ids=IDS)
    assert regressor.predict(X).shape == (200, 2)
    assert regressor.score(X, both) > 0.4
    mapping = {k: (X[k == IDS], both[k == IDS]) for k in range(4)}
    stored = FederatedRegressor(**SETTINGS).fit_clients(mapping)
    np.testing.assert_allclose(stored.predict(X), regressor.predict(X), rtol=1e-4)
    table = regressor.evaluate_clients(mapping)
    assert table["n_rows"].tolist() == [50] * 4
    mine = IDS == 2
    assert table.loc[2, "score"] == pytest.approx(regressor.score(X[mine], both[mine]), rel=1e-6)
    assert_same(load(save(regressor, tmp_path / "regressor.autokit")), regressor)


def test_a_column_is_one_target(regressor):
    column = FederatedRegressor(**SETTINGS).fit(
        X, Y[:, None], client_ids=IDS, validation_data=(X, Y[:, None])
    )
    assert column.history_["val_loss"] == pytest.approx(regressor.history_["val_loss"])
    table = regressor.evaluate_clients({0: (X, Y[:, None])})
    assert table.loc[0, "loss"] == pytest.approx(regressor.history_["val_loss"][-1])


def test_goes_on_and_exports(regressor, tmp_path):
    steps = FederatedRegressor(**SETTINGS)
    for _ in range(15):
        steps.partial_fit(X, Y, client_ids=IDS)
    np.testing.assert_array_equal(steps.predict(X), regressor.predict(X))
    report = export_tflite(regressor, tmp_path / "model.tflite")
    np.testing.assert_allclose(
        TFLiteModel(report.path).predict(X), regressor.predict(X), rtol=1e-3, atol=0.1
    )


def test_a_client_of_one_row_has_no_score(regressor):
    table = regressor.evaluate_clients({"one": (X[:1], Y[:1]), "all": (X, Y)})
    assert np.isnan(table.loc["one", "score"])
    assert table.loc["one", "loss"] > 0
    assert table.loc["all", "score"] == pytest.approx(regressor.score(X, Y))


def test_frames_and_algorithms():
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(10)])
    for algorithm in ("scaffold", "fedprox"):
        regressor = FederatedRegressor(**SETTINGS, algorithm=algorithm)
        regressor.fit(frame, pd.Series(Y), client_ids=pd.Series(IDS))
        assert regressor.score(frame, Y) > 0.35
    assert regressor.feature_names_in_.tolist() == list(frame)


def test_rates_by_default():
    assert FederatedRegressor().client_learning_rate is None
    linear = SETTINGS | {"model": linear_network, "n_rounds": 2}
    default, given = (
        FederatedRegressor(**linear, client_learning_rate=rate).fit(X, Y / 100, client_ids=IDS)
        for rate in (None, 0.02)
    )
    assert_same(default, given)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(np.arange(200) < 3, np.nan, Y), "NaN"),
        (Y[:, None, None], "dimension|shape"),
        (np.array(["a"] * 200), "numeric|numbers|convert"),
    ],
)
def test_a_wrong_target_is_named(y, message):
    with pytest.raises(ValueError, match=message):
        FederatedRegressor(**SETTINGS).fit(X, y, client_ids=IDS)


def test_another_number_of_targets_is_said(regressor):
    both = np.stack([Y, Y], axis=1)
    with pytest.raises(ValueError, match="validation_data: y has 2 outputs"):
        FederatedRegressor(**SETTINGS).fit(X, Y, client_ids=IDS, validation_data=(X, both))
    with pytest.raises(ValueError, match="client 2: y has 2 outputs"):
        regressor.evaluate_clients({2: (X, both)})
