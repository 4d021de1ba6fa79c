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

from autokit.federated import FederatedTrainer
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
    np.testing.assert_array_equal(sources.targets(2), CLIENTS["c2"][1])
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
    with pytest.raises(OSError, match="client 'ward': .*ward.npz: No such file"):
        FederatedTrainer(**SETTINGS).fit_clients([tmp_path / "ward.npz"])


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
    trainer = FederatedTrainer(**SETTINGS).fit_clients({"c0": Breaking(), "c1": paths[1]})
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
        ({"a": (X, Y[:5])}, "Client 'a' has 60 rows in X and 5 targets in y"),
        ({"a": (X, Y), "b": (X[:0], Y[:0])}, "Client 'b' has no rows; leave it out"),
        (
            {"a": (X, Y), "b": (X[:, :2], Y)},
            r"Client 'b' has rows of shape \(2,\), but client 'a' of \(4,\); give all",
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
