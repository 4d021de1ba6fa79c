"""Clients in memory, in files, from functions and from generators."""

from __future__ import annotations

import errno
import gc
import os
import tempfile
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autokit.federated import FederatedRegressor, FederatedTrainer, FederatedWarning
from autokit.federated.clients import ArrayClients, Sources, StoredClients, survey
from autokit.testing.federations import (
    blobs,
    by_client,
    dense_network,
)
from autokit.training import Batch

X, Y, IDS = blobs(60, 4)
CLIENTS = by_client(X, Y, IDS)
SETTINGS = {"model": dense_network, "n_rounds": 3, "batch_size": 8, "random_state": 0}


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def paths(tmp_path):
    paths = []
    for name, (rows, targets) in CLIENTS.items():
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], X=rows, y=targets)
    return paths


def test_rows_of_a_table_are_sorted_by_client():
    data = Batch(X, Y, np.arange(60.0))
    clients = ArrayClients(data, IDS)
    assert clients.names == [0, 1, 2, 3]
    assert len(clients) == 4
    np.testing.assert_array_equal(clients.sizes, np.bincount(IDS))
    for k in range(4):
        batch = clients.batch(k)
        np.testing.assert_array_equal(batch.x, X[IDS == k])
        np.testing.assert_array_equal(batch.y, Y[IDS == k])
        np.testing.assert_array_equal(batch.weight, np.flatnonzero(IDS == k))
    alone = ArrayClients(data)
    assert alone.names == [0]
    assert alone.batch(0).x is not None and len(alone.batch(0)) == 60


def test_names_are_keys_stems_or_numbers(paths, tmp_path):
    assert Sources(CLIENTS).names == ["c0", "c1", "c2", "c3"]
    assert Sources(paths).names == ["c0", "c1", "c2", "c3"]
    assert Sources([str(path) for path in paths]).names == ["c0", "c1", "c2", "c3"]
    assert Sources(list(CLIENTS.values())).names == [0, 1, 2, 3]
    assert Sources(iter(CLIENTS.values())).names == [0, 1, 2, 3]
    assert Sources([tmp_path / "a" / "x.npz", tmp_path / "b" / "x.npz"]).names == [0, 1]
    assert Sources({("ward", 1): (X, Y)}).names == [("ward", 1)]
    # of an iterator alike, as long as it gives paths only
    assert Sources(iter(paths)).names == ["c0", "c1", "c2", "c3"]
    assert Sources(tmp_path.glob("c?.npz")).names == [p.stem for p in tmp_path.glob("c?.npz")]
    assert Sources(iter([tmp_path / "a" / "x.npz", tmp_path / "b" / "x.npz"])).names == [0, 1]
    assert Sources(iter([paths[0], (X, Y)])).names == [0, 1]


def test_every_kind_of_source_trains_alike(paths, scratch):
    pairs = list(CLIENTS.values())
    whole = FederatedTrainer(**SETTINGS).fit_clients(CLIENTS)
    kinds = {
        "list": pairs,
        "tuple of lists": tuple([rows.tolist(), targets.tolist()] for rows, targets in pairs),
        "paths": paths,
        "named paths": dict(zip(CLIENTS, map(str, paths), strict=True)),
        "functions": [lambda pair=pair: pair for pair in pairs],
        "generator": (pair for pair in pairs),
        "generator of paths": iter(paths),
        "generator of functions": (lambda pair=pair: pair for pair in pairs),
        "frames": [(pd.DataFrame(rows), pd.Series(targets)) for rows, targets in pairs],
    }
    for kind, clients in kinds.items():
        trainer = FederatedTrainer(**SETTINGS).fit_clients(clients)
        np.testing.assert_allclose(
            trainer.predict_proba(X), whole.predict_proba(X), atol=1e-6, err_msg=kind
        )
    assert not list(scratch.iterdir())
    table = FederatedTrainer(**SETTINGS).fit(X, Y, client_ids=IDS)
    np.testing.assert_allclose(table.predict_proba(X), whole.predict_proba(X), atol=1e-6)


def test_a_generator_is_kept_in_a_folder_as_long_as_it_is_needed(scratch):
    sources = Sources(pair for pair in CLIENTS.values())
    assert len(list(scratch.glob("autokit-clients-*/*.npz"))) == 4
    np.testing.assert_array_equal(sources.read(2)[0], CLIENTS["c2"][0])
    np.testing.assert_array_equal(sources.outline(2)[1], CLIENTS["c2"][1])
    assert sources.outline(2)[0].shape == CLIENTS["c2"][0].shape
    del sources
    gc.collect()
    assert not list(scratch.iterdir())


def test_nothing_is_left_of_a_generator_that_fails(scratch):
    def failing():
        yield X, Y
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        FederatedTrainer(**SETTINGS).fit_clients(failing())
    with pytest.raises(ValueError, match="Client 1 must be a pair"):
        FederatedTrainer(**SETTINGS).fit_clients(iter([(X, Y), 7]))
    assert not list(scratch.iterdir())


def test_a_full_disk_is_said_and_nothing_is_left(scratch, monkeypatch):
    own = np.savez

    def full(path, **arrays):
        if Path(path).stem == "2":
            Path(path).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        own(path, **arrays)

    monkeypatch.setattr(np, "savez", full)
    trainer = FederatedTrainer(**SETTINGS)
    with pytest.raises(OSError, match="client 2 .*No space left.* Set TMPDIR") as caught:
        trainer.fit_clients(pair for pair in CLIENTS.values())
    assert caught.value.errno == errno.ENOSPC
    assert not list(scratch.iterdir())
    assert not hasattr(trainer, "model_")


def test_clients_are_forgotten_after_training():
    rows = X.copy()
    kept = weakref.ref(rows)
    clients = [lambda rows=rows: (rows, Y)]
    trainer = FederatedTrainer(**SETTINGS).fit_clients(clients)
    del rows, clients
    gc.collect()
    assert kept() is None
    assert trainer.n_rounds_ == 3


def test_memory_does_not_grow_with_the_clients_of_a_generator(scratch):
    rng = np.random.default_rng(0)

    def generated(n_clients):
        for _ in range(n_clients):
            yield rng.normal(size=(200, 250)).astype(np.float32), rng.integers(0, 3, 200)

    peaks = []
    for n_clients in (50, 400):
        tracemalloc.start()
        sources = Sources(generated(n_clients))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        del sources
    # 400 clients are 80 MB
    assert peaks[1] < 4e6
    assert peaks[1] < 2 * peaks[0]


def test_only_a_sample_of_rows_is_read_at_first(monkeypatch, paths):
    monkeypatch.setattr("autokit.federated.clients.SAMPLE_BYTES", CLIENTS["c0"][0].nbytes + 1)
    sizes, targets, sample = survey(Sources(paths))
    np.testing.assert_array_equal(sizes, np.bincount(IDS))
    assert len(sample) == 2
    np.testing.assert_array_equal(
        np.concatenate(targets), np.concatenate([Y[IDS == k] for k in range(4)])
    )
    trainer = FederatedTrainer(**SETTINGS).fit_clients(paths)
    assert trainer.classes_.tolist() == [0, 1, 2]


def test_stored_clients_encode_when_they_are_read():
    sources = Sources(CLIENTS)
    stored = StoredClients(sources, np.bincount(IDS), lambda rows, y: Batch(2 * rows, y))
    np.testing.assert_array_equal(stored.batch(1).x, 2 * CLIENTS["c1"][0])
    assert stored.names == sources.names
    assert len(stored) == 4


def broken(kind, path):
    """A file that is none."""
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("age,sex")
    elif kind == "cut":
        np.savez(path, X=X, y=Y)
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "flipped":
        np.savez_compressed(path, X=X, y=Y)
        content = bytearray(path.read_bytes())
        content[200:240] = bytes(40)
        path.write_bytes(bytes(content))
    elif kind == "names":
        np.savez(path, rows=X, y=Y)
    elif kind == "one array":
        with path.open("wb") as file:
            np.save(file, X)
    elif kind == "objects":
        np.savez(path, X=np.array([None, "a"], object), y=Y[:2])
    return path


KINDS = ("empty", "text", "cut", "flipped", "names", "one array", "objects")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_none_is_named(kind, tmp_path):
    path = broken(kind, tmp_path / "ward.npz")
    with pytest.raises(ValueError, match="client 'ward': .*ward.npz must be an .npz file with the"):
        FederatedTrainer(**SETTINGS).fit_clients([path])


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "ward.npz"
    with pytest.raises(FileNotFoundError, match="client 'ward': No such file.*ward.npz") as caught:
        FederatedTrainer(**SETTINGS).fit_clients([path])
    assert (caught.value.errno, caught.value.filename) == (errno.ENOENT, str(path))


@pytest.mark.parametrize("kind", ["cut", "gone", "columns"])
def test_a_file_that_breaks_during_training_is_a_dropped_client(kind, paths):
    class Breaking:
        n_read = 0

        def __call__(self):
            self.n_read += 1
            if self.n_read > 2:
                if kind == "gone":
                    paths[1].unlink(missing_ok=True)
                elif kind == "columns":
                    np.savez(paths[1], X=X[:, :2], y=Y)
                else:
                    broken("cut", paths[1])
            return CLIENTS["c0"]

    # read once for the columns, then once a round, before the second client
    with pytest.warns(FederatedWarning, match="Client 'c1' is left out") as told:
        trainer = FederatedTrainer(**SETTINGS).fit_clients({"c0": Breaking(), "c1": paths[1]})
    assert len(told) == 1  # of two rounds
    assert trainer.history_["clients"] == [["c0", "c1"], ["c0"], ["c0"]]
    assert list(trainer.history_["dropped"][2]) == ["c1"]
    why = trainer.history_["dropped"][2]["c1"]
    assert why.startswith("its rows could not be read")
    assert ("X has 2 features" if kind == "columns" else "c1.npz") in why


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        ([], "clients is empty; give the rows of at least one client"),
        ({}, "clients is empty"),
        (7, "clients must be a mapping of names to .* got int. For one table .* client_ids"),
        ("ward.npz", "clients must be a mapping .* got str"),
        (X, "clients must be a mapping .* got ndarray"),
        (pd.DataFrame(X), "clients must be a mapping .* got DataFrame"),
        ([(X, Y, Y)], "Client 0 must be a pair .* got tuple of length 3"),
        ({"a": X}, "Client 'a' must be a pair .* got ndarray"),
        ({"a": lambda: X}, "Client 'a' must be a pair .* got ndarray"),
        ({"a": (X, Y[:5])}, "client 'a': .* X has 60, y has 5"),
        ({"a": (X, Y), "b": (X[:0], Y[:0])}, "client 'b': it has no rows; leave it out"),
        (
            {"a": (X, Y), "b": (X[:, :2], Y)},
            r"client 'b': its rows are of shape \(2,\), but those of client 'a' of \(4,\); give",
        ),
        (
            iter([(np.array([["a"], [None]], object), [0, 1])]),
            "Client 0 of an iterator has rows of",
        ),
    ],
)
def test_what_is_no_client_is_said(clients, message):
    with pytest.raises(ValueError, match=message):
        FederatedTrainer(**SETTINGS).fit_clients(clients)


FRAME = pd.DataFrame(X, columns=list("abcd"))


def test_columns_are_found_by_name():
    turned = FRAME[list("dbca")]
    straight, other = (
        FederatedTrainer(**SETTINGS).fit_clients({"a": (FRAME, Y), "b": (rows, Y)})
        for rows in (FRAME, turned)
    )
    assert other.history_["clients"] == [["a", "b"]] * 3
    np.testing.assert_array_equal(straight.predict_proba(FRAME), other.predict_proba(FRAME))
    other.fit_clients({"b": (turned, Y)}, resume=True)
    assert other.history_["clients"][3:] == [["b"]] * 3
    table = other.evaluate_clients({"a": (FRAME, Y), "b": (turned, Y)})
    assert table.loc["a", "loss"] == table.loc["b", "loss"]
    # of an iterator alike, whose rows are kept in files
    streamed = FederatedTrainer(**SETTINGS).fit_clients(iter([(FRAME, Y), (turned, Y)]))
    np.testing.assert_array_equal(streamed.predict_proba(FRAME), straight.predict_proba(FRAME))
    streamed.fit_clients(iter([(turned, Y)]), resume=True)
    assert streamed.history_["clients"][3:] == [[0]] * 3
    assert streamed.history_["loss"][3:] == pytest.approx(other.history_["loss"][3:])


@pytest.mark.parametrize(
    ("clients", "message"),
    [
        (
            {"a": (FRAME, Y), "b": (FRAME.rename(columns={"d": "e"}), Y)},
            "client 'b': its columns are a, b, c, e, but those of client 'a' are a, b, c, d; give",
        ),
        ({"a": (FRAME, Y), "b": (X, Y)}, "client 'b': its columns have no names, but those of cli"),
        ({"a": (X, Y), "b": (FRAME, Y)}, "client 'b': its columns have names, but those of client"),
        (iter([(FRAME, Y), (X, Y)]), "client 1: its columns have no names"),
        ({"a": (FRAME, Y), "b": (FRAME.assign(e=1), Y)}, r"client 'b': .* \(5,\), .* of \(4,\)"),
        ({"a": (X, Y), "b": (X, Y.astype(str))}, "client 'b': its y holds texts, but .* numbers"),
        (
            {"a": (X, Y.astype(str).astype(object)), "b": (X, Y)},
            "client 'b': its y holds numbers, but that of client 'a' texts",
        ),
        (
            {"a": (X, Y), "b": (X, np.stack([Y, Y], axis=1))},
            r"client 'b': .*y should be a 1d array|client 'b': its y is of shape",
        ),
        ({"a": (X, Y), "b": (X, None)}, "client 'b': .*y must be an array .* got None"),
        ({"a": (1, 2)}, "client 'a': X must have rows and features"),
        ({"a": (X, 2)}, "client 'a': y must be an array .* got 2"),
        ({"a": (X, Y), "b": (X, np.where(np.arange(60) == 7, np.nan, Y))}, "client 'b': .*row 7"),
        (
            {"a": (X, Y.astype(str)), "b": (X, [None, *"0" * 59])},
            "client 'b': Input y contains NaN",
        ),
        ({"a": (X, Y), "b": ([[1], [1, 2]], [0, 1])}, "client 'b': .*ragged"),
        ({"a": lambda: {}["key"]}, "client 'a': its function raised KeyError: 'key'"),
        ({"a": lambda: lambda: (X, Y)}, "Client 'a' must be .*; got function from its function"),
    ],
)
def test_clients_that_do_not_go_together(clients, message):
    with pytest.raises(ValueError, match=message):
        FederatedTrainer(**SETTINGS).fit_clients(clients)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y[:, None], r"client 'b': its y is of shape \(60, 1\), but that of client 'a' of \(60,\)"),
        (np.stack([Y, Y], axis=1), r"client 'b': its y is of shape \(60, 2\)"),
        (np.where(Y == 0, np.inf, Y), "client 'b': .*infinity"),
        (np.array(["a"] * 60), "client 'b': y must hold numbers for a regression"),
    ],
)
def test_numbers_that_do_not_go_together(y, message):
    with pytest.raises(ValueError, match=message):
        FederatedRegressor(**SETTINGS | {"model": None}).fit_clients({"a": (X, Y), "b": (X, y)})


def test_files_that_do_not_go_together(paths, tmp_path, monkeypatch):
    """Also those that are not read before the first round."""
    for sample in (1 << 24, 1):
        monkeypatch.setattr("autokit.federated.clients.SAMPLE_BYTES", sample)
        for wrong, message in (
            ({"X": X[:, :2], "y": Y}, r"client 'w': its rows are of shape \(2,\)"),
            ({"X": X, "y": Y[:5]}, "client 'w': .* X has 60, y has 5"),
            ({"X": np.array(1), "y": np.array(2)}, "client 'w': X must have rows and features"),
            ({"X": X.astype(object), "y": Y}, "client 'w': .*w.npz must be .* plain arrays"),
        ):
            np.savez(tmp_path / "w.npz", **wrong)
            with pytest.raises(ValueError, match=message):
                FederatedTrainer(**SETTINGS).fit_clients([*paths, tmp_path / "w.npz"])


def test_resuming_checks_against_what_was_fitted():
    trainer = FederatedTrainer(**SETTINGS).fit_clients({"a": (FRAME, Y)})
    for wrong, message in (
        (FRAME.rename(columns={"d": "e"}), "client 'b': The feature names should match"),
        (FRAME[["a", "b"]], "client 'b': The feature names should match"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer.fit_clients({"b": (wrong, Y)}, resume=True)
    with pytest.raises(
        ValueError, match="client 'c': y has labels that were not in fit, such as 5"
    ):
        trainer.fit_clients({"b": (FRAME, Y), "c": (FRAME, Y + 5)}, resume=True)
    assert trainer.n_rounds_ == 3
    assert trainer.client_names_ == ["a"]


def test_a_function_that_fails_during_training_is_a_dropped_client():
    calls = []

    def failing():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("gone")
        return X, Y

    with pytest.warns(FederatedWarning, match="Client 'b' is left out"):
        trainer = FederatedTrainer(**SETTINGS).fit_clients({"a": (X, Y), "b": failing})
    assert trainer.history_["clients"] == [["a"]] * 3
    why = trainer.history_["dropped"][0]["b"]
    assert "client 'b': its function raised RuntimeError: gone" in why


@pytest.mark.parametrize("kind", [FederatedTrainer, FederatedRegressor])
def test_scoring_names_the_client(kind):
    fitted = kind(n_rounds=1, random_state=0).fit(X, Y)
    for pair, message in (
        ((X, Y[:5]), "client 'b': .* X has 60, y has 5"),
        ((X[:, :2], Y), "client 'b': X has 2 features"),
        ((X, np.where(np.arange(60) == 7, np.nan, Y)), "client 'b': .*row 7"),
        ((X[:0], Y[:0]), "client 'b': .*0 sample"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.evaluate_clients({"a": (X, Y), "b": pair})
    with pytest.raises(ValueError, match="y is None, but client_ids is given; pass the target of"):
        fitted.evaluate_clients(X, client_ids=IDS)
