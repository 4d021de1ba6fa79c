"""FederatedTrainer: inputs, parameters, what it tells, and its place in scikit-learn."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autokit import FederatedTrainer, export_tflite, load, save
from autokit._backend import keras
from autokit.compression import Cluster, Prune
from autokit.deploy import TFLiteModel
from autokit.federated import (
    FedAvg,
    FedAvgM,
    FedProx,
    QuantizedUpdates,
    Scaffold,
    ServerStep,
)
from autokit.testing.federations import (
    assert_same,
    blobs,
    by_client,
    dense_network,
    normalized_network,
    recurrent_network,
)
from autokit.training import seeded

X, Y, IDS = blobs()
NEW_X, NEW_Y, NEW_IDS = blobs(seed=1)
CLIENTS = by_client(X, Y, IDS)
SETTINGS = {
    "model": dense_network,
    "n_rounds": 5,
    "batch_size": 10,
    "client_learning_rate": 0.3,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def trainer():
    return FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS, validation_data=(NEW_X, NEW_Y))


def test_history_has_a_value_for_each_round(trainer):
    assert list(trainer.history_) == [
        "loss", "score", "val_loss", "val_score", "clients", "dropped", "bytes_down", "bytes_up"
    ]  # fmt: skip
    assert {len(values) for values in trainer.history_.values()} == {trainer.n_rounds_} == {5}
    assert trainer.history_["clients"] == [[0, 1, 2, 3, 4]] * 5
    assert trainer.history_["dropped"] == [{}] * 5
    size = 4 * sum(w.size for w in trainer.model_.get_weights())
    assert trainer.history_["bytes_down"] == trainer.history_["bytes_up"] == [5 * size] * 5
    assert trainer.client_names_ == [0, 1, 2, 3, 4]
    assert trainer.history_["val_score"][-1] == pytest.approx(trainer.score(NEW_X, NEW_Y))
    right = trainer.predict_proba(NEW_X)[np.arange(len(NEW_Y)), NEW_Y]
    assert trainer.history_["val_loss"][-1] == pytest.approx(-np.log(right).mean(), rel=1e-5)


def test_model_is_a_plain_keras_model(trainer):
    assert trainer.score(NEW_X, NEW_Y) > 0.9
    assert trainer.n_features_in_ == 4
    assert trainer.classes_.tolist() == [0, 1, 2]
    copied = type(trainer.model_).from_config(trainer.model_.get_config())
    copied.set_weights(trainer.model_.get_weights())
    outputs = copied(trainer.encoder_.encode(NEW_X)).numpy()
    np.testing.assert_allclose(outputs, trainer.predict_proba(NEW_X), atol=1e-6)


def test_exports(trainer, tmp_path):
    report = export_tflite(trainer, tmp_path / "model.tflite")
    found = TFLiteModel(report.path).predict_proba(NEW_X)
    np.testing.assert_allclose(found, trainer.predict_proba(NEW_X), atol=1e-4)


def test_without_client_ids_it_is_plain_sgd():
    alone = FederatedTrainer(**SETTINGS).fit(X, Y)
    named = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=np.zeros(len(Y), int))
    assert_same(alone, named)
    assert alone.score(NEW_X, NEW_Y) > 0.9


def test_one_seed_gives_one_result(trainer):
    again = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS, validation_data=(NEW_X, NEW_Y))
    assert_same(trainer, again)
    assert_same(again.fit(X, Y, client_ids=IDS, validation_data=(NEW_X, NEW_Y)), trainer)
    state = np.random.RandomState(3)
    first, second = (FederatedTrainer(**SETTINGS | {"random_state": state}) for _ in range(2))
    first.fit(X, Y, client_ids=IDS)
    second.fit(X, Y, client_ids=IDS)
    assert first.history_["loss"] != second.history_["loss"]


@pytest.mark.parametrize(
    ("asked", "n"),
    [(None, 5), (2, 2), (1, 1), (99, 5), (0.4, 2), (1.0, 5), (0.01, 1), (np.float32(0.4), 2)],
)
def test_clients_of_a_round(asked, n):
    trainer = FederatedTrainer(**SETTINGS, clients_per_round=asked).fit(X, Y, client_ids=IDS)
    chosen = trainer.history_["clients"]
    assert [len(clients) for clients in chosen] == [n] * 5
    if n == 2:
        assert len({tuple(clients) for clients in chosen}) > 2


def names_of(kind):
    return {
        "int": IDS,
        "text": np.array(["e", "d", "c", "b", "a"])[IDS],
        "float": IDS + 1.0,
        "bool": IDS > 2,
        "list": [f"client {i}" for i in IDS],
        "series": pd.Series(IDS, index=range(1000, 1000 + len(IDS))),
        "category": pd.Series(IDS.astype(str)).astype("category"),
        "objects": np.array([f"c{i}" for i in IDS], object),
        "dates": np.datetime64("2024-01-01") + IDS,
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["int", "text", "float", "bool", "list", "series", "category", "objects", "dates"],
)
def test_clients_may_be_named_by_anything(kind, tmp_path):
    ids = names_of(kind)
    trainer = FederatedTrainer(**SETTINGS, algorithm="scaffold").fit(X, Y, client_ids=ids)
    assert trainer.client_names_ == np.unique(np.asarray(ids)).tolist()
    assert set(trainer._state.kept) == set(trainer.client_names_)
    table = trainer.evaluate_clients(X, Y, ids)
    assert table.index.tolist() == trainer.client_names_
    if kind != "dates":
        assert_same(load(save(trainer, tmp_path / "trainer.autokit")), trainer)


def test_order_of_rows_within_a_table_does_not_matter_between_clients():
    order = np.argsort(IDS, kind="stable")
    sorted_, plain = (
        FederatedTrainer(**SETTINGS).fit(X[o], Y[o], client_ids=IDS[o])
        for o in (order, np.arange(len(Y)))
    )
    assert_same(sorted_, plain)


def test_labels_may_be_texts_and_two():
    names = np.array(["cat", "dog", "ant"])[Y]
    trainer = FederatedTrainer(**SETTINGS).fit(X, names, client_ids=IDS)
    assert trainer.classes_.tolist() == ["ant", "cat", "dog"]
    assert trainer.score(NEW_X, np.array(["cat", "dog", "ant"])[NEW_Y]) > 0.9
    is_zero = Y == 0
    two = FederatedTrainer(**SETTINGS).fit(X, is_zero, client_ids=IDS)
    assert two.predict_proba(X).shape == (len(X), 2)
    assert two.score(NEW_X, NEW_Y == 0) > 0.9

    def one_output(input_shape, n_outputs):
        return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1)])

    one = FederatedTrainer(**SETTINGS | {"model": one_output}).fit(X, is_zero, client_ids=IDS)
    assert one.output_activation_ == "sigmoid"
    assert one.predict_proba(X).shape == (len(X), 2)
    assert one.score(NEW_X, NEW_Y == 0) > 0.85
    assert one.history_["score"][-1] > 0.85


def test_frames_with_categories_and_missing_values():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(50, 10, 150),
            "city": rng.choice(["Rome", "Oslo", "Lima"], 150),
            "grade": pd.Categorical(rng.choice(["low", "high"], 150)),
        }
    )
    y = np.where(frame["city"] == "Oslo", "north", "south")
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "grade"] = None
    settings = SETTINGS | {"model": None, "n_rounds": 8}
    trainer = FederatedTrainer(**settings).fit(frame, y, client_ids=IDS)
    assert trainer.score(frame, y) > 0.95
    assert trainer.feature_names_in_.tolist() == list(frame)
    mapping = {k: (frame[k == IDS], y[k == IDS]) for k in range(5)}
    stored = FederatedTrainer(**settings).fit_clients(mapping)
    assert stored.score(frame, y) > 0.95
    assert stored.evaluate_clients(mapping)["n_rows"].sum() == 150
    unseen = frame.assign(city="Atlantis")
    assert np.isfinite(stored.predict_proba(unseen)).all()


def test_default_networks_for_images_and_sequences():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    for shape, settings in (((8, 8), {}), ((6, 3), {"model": recurrent_network})):
        rows = rng.normal(size=(60, *shape)).astype(np.float32) + y[:, None, None]
        trainer = FederatedTrainer(**SETTINGS | {"model": None} | settings)
        trainer.fit(rows, y, client_ids=np.arange(60) % 3)
        assert trainer.score(rows, y) > 0.8


def test_a_model_is_a_starting_point_and_stays_untouched():
    with seeded(0):
        start = dense_network()
    before = start.get_weights()
    trainer = FederatedTrainer(**SETTINGS | {"model": start}).fit(X, Y, client_ids=IDS)
    for a, b in zip(before, start.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    still = SETTINGS | {"model": start, "client_learning_rate": 1e-12}
    kept = FederatedTrainer(**still).fit(X, Y, client_ids=IDS)
    np.testing.assert_allclose(kept.predict_proba(X), start(X).numpy(), atol=1e-6)
    assert trainer.score(NEW_X, NEW_Y) > 0.9


def test_sample_weights():
    weight = np.where(Y == 2, 0.0, 1.0)
    trainer = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS, sample_weight=weight)
    rest = Y != 2
    without = FederatedTrainer(**SETTINGS).fit(X[rest], Y[rest], client_ids=IDS[rest])
    assert trainer.classes_.tolist() == [0, 1]
    np.testing.assert_allclose(trainer.predict_proba(X), without.predict_proba(X), atol=1e-6)
    gone = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS, sample_weight=1.0 * (IDS != 4))
    assert gone.client_names_ == [0, 1, 2, 3]
    light = np.where(Y == 0, 1e-4, 1.0)
    pulled = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS, sample_weight=light)
    assert (pulled.predict(NEW_X) == 0).sum() < (NEW_Y == 0).sum() / 2


@pytest.mark.parametrize("algorithm", [FedAvgM(), Scaffold(), "fedadam"], ids=str)
def test_partial_fit_goes_on(algorithm):
    settings = SETTINGS | {"algorithm": algorithm, "communication": "quantized"}
    whole = FederatedTrainer(**settings).fit(X, Y, client_ids=IDS)
    steps = FederatedTrainer(**settings)
    for _ in range(5):
        assert steps.partial_fit(X, Y, client_ids=IDS) is steps
    assert_same(steps, whole)
    whole.partial_fit(X, Y, client_ids=IDS)
    assert whole.n_rounds_ == len(whole.history_["loss"]) == 6
    assert whole.fit(X, Y, client_ids=IDS).n_rounds_ == 5


def test_partial_fit_takes_new_clients_and_all_classes_at_once():
    trainer = FederatedTrainer(**SETTINGS)
    some = Y != 2
    trainer.partial_fit(X[some], Y[some], client_ids=IDS[some], classes=[0, 1, 2])
    assert trainer.predict_proba(X).shape[1] == 3
    trainer.partial_fit(X, Y, client_ids=IDS + 100)
    assert trainer.client_names_ == [100, 101, 102, 103, 104]
    assert trainer.history_["clients"] == [[0, 1, 2, 3, 4], [100, 101, 102, 103, 104]]
    with pytest.raises(ValueError, match="labels that were not in fit, such as 3"):
        trainer.partial_fit(X, Y + 1, client_ids=IDS)
    assert trainer.n_rounds_ == 2


@pytest.mark.parametrize("kept", ["same", "copy", "deepcopy", "pickle", "file"])
def test_resumed_training_is_as_if_never_stopped(kept, tmp_path):
    settings = SETTINGS | {
        "algorithm": Scaffold(),
        "clients_per_round": 3,
        "server_optimizer": ServerStep("adam", learning_rate=0.05),
        "communication": QuantizedUpdates(bits=4),
    }
    whole = FederatedTrainer(**settings | {"n_rounds": 6}).fit_clients(CLIENTS)
    part = FederatedTrainer(**settings | {"n_rounds": 2}).fit_clients(CLIENTS)
    part = {
        "same": lambda: part,
        "copy": lambda: copy.copy(part),
        "deepcopy": lambda: copy.deepcopy(part),
        "pickle": lambda: pickle.loads(pickle.dumps(part)),
        "file": lambda: load(save(part, tmp_path / "trainer.autokit")),
    }[kept]()
    part.set_params(n_rounds=4).fit_clients(CLIENTS, resume=True)
    assert_same(part, whole)
    np.testing.assert_array_equal(part.predict_proba(X), whole.predict_proba(X))


def test_weights_that_others_change_are_trained_on():
    trainer = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS)
    trainer.model_.set_weights([0 * weights for weights in trainer.model_.get_weights()])
    still = trainer.set_params(client_learning_rate=1e-12)
    still.partial_fit(X, Y, client_ids=IDS)
    assert not still._state.weights[:10].any()
    np.testing.assert_allclose(still.predict_proba(X), 1 / 3, atol=1e-5)


EVERY = {"epochs": 1, "layers": lambda layer: True}
METHODS = [Prune(sparsity=0.5, **EVERY), Cluster(n_clusters=4, **EVERY)]


@pytest.mark.parametrize("method", METHODS, ids=lambda made: type(made).__name__)
def test_compressed_networks_keep_their_structure(method):
    trainer = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS)
    small = method.compress(trainer, X, Y)
    kernel = small.model_.layers[0].kernel.numpy()
    small.set_params(n_rounds=3).fit_clients(CLIENTS, resume=True)
    after = small.model_.layers[0].kernel.numpy()
    assert not np.array_equal(kernel, after)
    if isinstance(method, Prune):
        assert (kernel == 0).mean() > 0.4
        np.testing.assert_array_equal(after == 0, kernel == 0)
    else:
        assert len(np.unique(after)) <= 4
    assert small.score(NEW_X, NEW_Y) > 0.8
    assert small.n_rounds_ == 8


def test_resuming_refuses_classes_that_are_new():
    trainer = FederatedTrainer(**SETTINGS).fit_clients(CLIENTS)
    before = trainer.n_rounds_
    with pytest.raises(ValueError, match="labels that were not in fit, such as 7"):
        trainer.fit_clients({"new": (X, np.full(len(X), 7))}, resume=True)
    assert trainer.n_rounds_ == before
    fresh = FederatedTrainer(**SETTINGS).fit_clients(CLIENTS, resume=True)
    assert fresh.n_rounds_ == 5


def test_callbacks_see_rounds_as_epochs():
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            seen.append("begin")

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, sorted(logs), self.model.get_weights()[0].copy()))

        def on_train_end(self, logs=None):
            seen.append("end")

    trainer = FederatedTrainer(**SETTINGS | {"n_rounds": 2}, callbacks=Watch())
    trainer.fit(X, Y, client_ids=IDS, validation_data=(NEW_X, NEW_Y))
    assert seen[0] == "begin" and seen[-1] == "end"
    assert [part for part in seen if isinstance(part, int)] == [0, 1]
    rounds = [part for part in seen if isinstance(part, tuple)]
    assert [part[:2] for part in rounds] == [
        (i, ["loss", "score", "val_loss", "val_score"]) for i in (0, 1)
    ]
    assert not np.array_equal(rounds[0][2], rounds[1][2])
    np.testing.assert_array_equal(rounds[1][2], trainer.model_.get_weights()[0])
    trainer.fit(X, Y, client_ids=IDS)
    assert sorted(seen[-2][1]) == ["loss", "score"]


def test_early_stopping():
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2, min_delta=10.0)
    trainer = FederatedTrainer(**SETTINGS | {"n_rounds": 30}, callbacks=[stop])
    trainer.fit(X, Y, client_ids=IDS, validation_data=(NEW_X, NEW_Y))
    assert trainer.n_rounds_ == len(trainer.history_["loss"]) == 3
    trainer.set_params(callbacks=None).partial_fit(X, Y, client_ids=IDS)
    assert trainer.n_rounds_ == 4


def test_early_stopping_brings_the_best_weights_back():
    class Best(keras.callbacks.EarlyStopping):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, {"val_loss": [1.0, 0.1, 3.0, 4.0, 5.0][epoch]})

    stop = Best("val_loss", patience=3, restore_best_weights=True)
    trainer = FederatedTrainer(**SETTINGS, callbacks=stop).fit(X, Y, client_ids=IDS)
    two = FederatedTrainer(**SETTINGS | {"n_rounds": 2}).fit(X, Y, client_ids=IDS)
    assert trainer.n_rounds_ == 5
    for a, b in zip(trainer.model_.get_weights(), two.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(trainer.predict_proba(X), two.predict_proba(X))


def test_verbose_shows_rounds(capsys):
    FederatedTrainer(**SETTINGS | {"n_rounds": 2}, verbose=1).fit(X, Y, client_ids=IDS)
    shown = capsys.readouterr().out
    assert "round" in shown
    assert "2/2" in shown
    assert "loss" in shown
    FederatedTrainer(**SETTINGS | {"n_rounds": 2}).fit(X, Y, client_ids=IDS)
    assert capsys.readouterr().out == ""


def test_clients_are_scored_apart(trainer):
    table = trainer.evaluate_clients(NEW_X, NEW_Y, NEW_IDS)
    assert table.index.name == "client"
    assert table.index.tolist() == [0, 1, 2, 3, 4]
    assert list(table) == ["n_rows", "score", "loss"]
    np.testing.assert_array_equal(table["n_rows"], np.bincount(NEW_IDS))
    for k, row in table.iterrows():
        mine = NEW_IDS == k
        assert row["score"] == pytest.approx(trainer.score(NEW_X[mine], NEW_Y[mine]))
    whole = np.average(table["score"], weights=table["n_rows"])
    assert whole == pytest.approx(trainer.score(NEW_X, NEW_Y))
    apart = trainer.evaluate_clients(by_client(NEW_X, NEW_Y, NEW_IDS))
    assert apart.index.tolist() == ["c0", "c1", "c2", "c3", "c4"]
    np.testing.assert_allclose(apart.to_numpy(), table.to_numpy())
    with pytest.raises(ValueError, match="client_ids is None; pass the client of each row"):
        trainer.evaluate_clients(NEW_X, NEW_Y)
    with pytest.raises(ValueError, match="client_ids has 4 entries"):
        trainer.evaluate_clients(NEW_X, NEW_Y, NEW_IDS[:4])
    with pytest.raises(NotFittedError):
        FederatedTrainer().evaluate_clients(NEW_X, NEW_Y, NEW_IDS)


def images():
    """Two clients whose pixels have other ranges."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    X = rng.normal(size=(80, 6, 6, 1)).astype(np.float32) + y[:, None, None, None]
    client_ids = np.arange(80) % 2
    X[client_ids == 1] = 5 * X[client_ids == 1] + 20
    return X, y, client_ids


def test_batch_normalisation_of_their_own():
    rows, y, client_ids = images()
    settings = SETTINGS | {"model": normalized_network, "n_rounds": 8, "client_learning_rate": 0.05}
    local = FederatedTrainer(**settings, batch_norm="local")
    local.fit(rows, y, client_ids=client_ids, validation_data=(rows, y))
    average = FederatedTrainer(**settings).fit(rows, y, client_ids=client_ids)
    size = 4 * sum(w.size for w in average.model_.get_weights())
    assert average.history_["bytes_up"][0] == average.history_["bytes_down"][0] == 2 * size
    assert local.history_["bytes_up"][0] == local.history_["bytes_down"][0] == 2 * (size - 4 * 16)
    norm, others = local.model_.layers[1], local.model_.layers[0]
    own = [kept["local"] for kept in local._state.kept.values()]
    assert len(own) == 2 and not np.allclose(*own)
    np.testing.assert_allclose(
        np.concatenate([v.numpy() for v in (norm.gamma, norm.beta)]), np.mean(own, axis=0)[:8],
        rtol=1e-5,
    )  # fmt: skip
    np.testing.assert_allclose(norm.moving_mean.numpy(), np.mean(own, axis=0)[8:12], rtol=1e-5)
    # what the server has of them is what it began with
    begin = FederatedTrainer(**settings | {"client_learning_rate": 1e-12, "n_rounds": 1})
    begin.set_params(batch_norm="local").fit(rows, y, client_ids=client_ids)
    from autokit.federated.weights import WeightLayout

    mask = WeightLayout.of(local.model_).normalization_mask
    np.testing.assert_array_equal(local._state.weights[mask], begin._state.weights[mask])
    assert not np.allclose(others.kernel.numpy(), begin.model_.layers[0].kernel.numpy())
    # the model that rounds were judged by is the one that is left
    assert local.history_["val_score"][-1] == pytest.approx(local.score(rows, y))

    table = local.evaluate_clients(rows, y, client_ids)
    for k in (0, 1):
        model = keras.models.clone_model(local.model_)
        model.set_weights(local.model_.get_weights())
        parts = np.split(own[k], 4)
        for variable, part in zip(model.layers[1].variables, parts, strict=True):
            variable.assign(part)
        mine = client_ids == k
        outputs = model(rows[mine]).numpy()
        assert table.loc[k, "score"] == pytest.approx(np.mean(outputs.argmax(axis=1) == y[mine]))
    strange = local.evaluate_clients({"new": (rows, y)})
    assert strange.loc["new", "score"] == pytest.approx(local.score(rows, y))


def test_batch_normalisation_goes_on_after_a_pause(tmp_path):
    rows, y, client_ids = images()
    clients = by_client(rows, y, client_ids)
    settings = SETTINGS | {"model": normalized_network, "batch_norm": "local"}
    whole = FederatedTrainer(**settings | {"n_rounds": 4}).fit_clients(clients)
    part = FederatedTrainer(**settings | {"n_rounds": 2}).fit_clients(clients)
    part = load(save(part, tmp_path / "trainer.autokit"))
    assert_same(part.fit_clients(clients, resume=True), whole)


def test_clones_and_parameters():
    trainer = FederatedTrainer(algorithm=FedProx(mu=0.5), server_optimizer="adam", callbacks=[])
    copied = clone(trainer)
    assert copied.algorithm is not trainer.algorithm
    assert copied.get_params()["algorithm__mu"] == 0.5
    assert repr(copied) == repr(trainer)
    fitted = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS)
    assert not hasattr(clone(fitted), "model_")


def test_grid_search_with_clients():
    grid = {"algorithm": [FedProx()], "algorithm__mu": [0.0, 100.0]}
    search = GridSearchCV(FederatedTrainer(**SETTINGS), grid, cv=2)
    search.fit(X, Y, client_ids=IDS)
    assert search.best_params_["algorithm__mu"] == 0.0
    best = search.best_estimator_
    assert best.client_names_ == [0, 1, 2, 3, 4]
    pipeline = make_pipeline(StandardScaler(), FederatedTrainer(**SETTINGS))
    pipeline.fit(X, Y, federatedtrainer__client_ids=IDS)
    assert pipeline[-1].client_names_ == [0, 1, 2, 3, 4]
    found = cross_val_predict(FederatedTrainer(**SETTINGS), X, Y, cv=3, params={"client_ids": IDS})
    assert np.mean(found == Y) > 0.85


def test_parameters_by_name_and_by_instance_are_alike():
    first, second = (
        FederatedTrainer(**SETTINGS, algorithm=algorithm, aggregator=aggregator).fit(
            X, Y, client_ids=IDS
        )
        for algorithm, aggregator in (("fedavg", "median"), (FedAvg(), _median()))
    )
    assert_same(first, second)


def _median():
    from autokit.federated import Median

    return Median()


def test_server_optimizers():
    plain = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS)
    for optimizer in ("sgd", keras.optimizers.SGD(1.0), ServerStep("sgd", learning_rate=1.0)):
        trainer = FederatedTrainer(**SETTINGS, server_optimizer=optimizer)
        trainer.fit(X, Y, client_ids=IDS)
        same = np.array_equal(trainer._state.weights, plain._state.weights)
        assert same == (optimizer != "sgd")  # Keras' own rate is 0.01


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"algorithm": "fedfoo"}, "'algorithm' parameter of FederatedTrainer .* Got 'fedfoo'"),
        ({"algorithm": FedAvg}, r"'algorithm' parameter is the class FedAvg; .* FedAvg\(\)"),
        ({"algorithm": FedProx(mu=-1)}, "'mu' parameter of FedProx must be .* Got -1"),
        ({"algorithm": FedAvgM(momentum=1.0)}, "'momentum' parameter of FedAvgM"),
        ({"algorithm": FedAvg(weighted="yes")}, "'weighted' parameter of FedAvg"),
        ({"algorithm": Scaffold(learning_rate=0)}, "'learning_rate' parameter of Scaffold"),
        ({"n_rounds": 0}, r"'n_rounds' parameter of FederatedTrainer must be an int .* Got 0"),
        ({"clients_per_round": 0}, "'clients_per_round' parameter of FederatedTrainer"),
        ({"clients_per_round": 1.5}, "'clients_per_round' parameter of FederatedTrainer"),
        ({"local_epochs": 0}, "'local_epochs' parameter"),
        ({"batch_size": 2.5}, "'batch_size' parameter"),
        ({"client_learning_rate": 0.0}, "'client_learning_rate' parameter"),
        ({"server_optimizer": "rmsprop"}, "'server_optimizer' parameter must be .* got 'rmsprop'"),
        ({"server_optimizer": 3}, "'server_optimizer' parameter of FederatedTrainer"),
        (
            {"server_optimizer": keras.optimizers.RMSprop()},
            "'server_optimizer' parameter .* got RMSprop. The algorithms 'fedadam'",
        ),
        (
            {"server_optimizer": keras.optimizers.Adam(clipnorm=1.0)},
            "'server_optimizer' parameter .* got Adam with clipnorm",
        ),
        (
            {
                "server_optimizer": keras.optimizers.SGD(
                    keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
                )
            },
            "got SGD with a learning-rate schedule",
        ),
        ({"batch_norm": "group"}, "'batch_norm' parameter"),
        ({"callbacks": 3}, "'callbacks' parameter"),
        ({"privacy": 1.0}, "'privacy' parameter"),
        ({"model": "mlp"}, "'model' parameter"),
        ({"random_state": -1}, "'random_state' parameter"),
        ({"verbose": -1}, "'verbose' parameter"),
    ],
)
def test_a_wrong_parameter_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        FederatedTrainer(**SETTINGS | settings).fit(X, Y, client_ids=IDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"client_ids": IDS[:9]}, "client_ids has 9 entries, but X and y have 150 rows"),
        ({"client_ids": IDS[:, None]}, r"client_ids must be of shape .* got \(150, 1\)"),
        ({"client_ids": "a"}, r"client_ids must be of shape .* got \(\)"),
        ({"client_ids": [None, *"a" * 149]}, "client_ids has missing values; name the client"),
        (
            {"client_ids": np.array([1, *"a" * 149], object)},
            "client_ids must be all texts or all numbers; got a mixture",
        ),
        ({"client_ids": np.where(IDS, IDS, np.nan)}, "client_ids has missing values"),
        ({"validation_data": X}, "validation_data must be a pair .* got ndarray"),
        (
            {"validation_data": (X, Y, IDS)},
            "validation_data must be a pair .* got tuple of length 3",
        ),
        ({"validation_data": (X, Y[:5])}, "X has 150, y has 5"),
        ({"validation_data": (X, Y + 5)}, "y has labels that were not in fit, such as 5"),
        ({"validation_data": (X[:, :2], Y)}, "2 features"),
        ({"sample_weight": np.zeros(150)}, "non-zero number|have a positive weight"),
        ({"sample_weight": -np.ones(150)}, "[Nn]egative"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        FederatedTrainer(**SETTINGS).fit(X, Y, **{"client_ids": IDS} | arguments)


def test_server_steps_say_what_they_take():
    with pytest.raises(
        ValueError, match="rule of a ServerStep must be one of 'sgd', .* got 'lion'"
    ):
        ServerStep("lion")
    with pytest.raises(TypeError, match="unexpected"):
        ServerStep("sgd", learning_rate=1.0, beta=3)
    step = ServerStep("adam", learning_rate=0.1)
    assert step["beta_2"] == 0.999
    assert copy.deepcopy(step) == pickle.loads(pickle.dumps(step)) == step
    assert hash(step) == hash(ServerStep("adam", learning_rate=0.1))
