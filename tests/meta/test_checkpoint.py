"""The file of a meta-training: whole or refused, and as if nothing had happened."""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

from autokit import FewShotLearner, save
from autokit.meta import Prototypical, training
from autokit.meta.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from autokit.persistence import archive
from autokit.testing.meta import blobs, noisy_encoder, tiny_encoder
from autokit.testing.processes import start, wait_for

X, Y = blobs(range(6), 6, 0)
SETTINGS = {"encoder": tiny_encoder, "n_way": 2, "n_query": 2, "random_state": 0}


def learner(path, **settings):
    return FewShotLearner(**SETTINGS | {"n_episodes": 3, "storage": path} | settings)


def values(fitted):
    return [v.numpy() for v in fitted._learnt.network.variables]


def same(first, second):
    for a, b in zip(values(first), values(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.history_ == second.history_
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "training"
    learner(path).fit(X, Y)
    return path


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(2, 3)).astype(np.float32), np.int32(seed), np.zeros(0, np.float64)]


def checkpoint(**changes):
    rule = (np.float32(1.0), arrays(1), arrays(2))
    at = Checkpoint(
        weights=arrays(),
        running={"extras": arrays(3), "rule": rule},
        optimizer=arrays(4),
        history={"loss": [0.1, 1 / 3], "episodes": [4, 8]},
        epoch=2,
        n_episodes=8,
        best_value=-1 / 7,
        best_epoch=1,
        best_weights=arrays(5),
        best_running={"extras": arrays(6), "rule": rule},
    )
    return replace(at, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"best_value": -np.inf, "best_weights": [], "best_running": {}},
        {"running": {}, "best_running": {}, "is_over": True},
    ],
)
def test_what_is_written_is_read(tmp_path, changes):
    at, identity = checkpoint(**changes), {"n_way": 5, "rate": 0.1, "shape": (3, 4)}
    write_checkpoint(tmp_path / "file", identity, at)
    found = read_checkpoint(tmp_path / "file", identity, checkpoint(**changes))
    for name, value in at.__dict__.items():
        other = getattr(found, name)
        if name in ("weights", "optimizer", "best_weights"):
            flat = zip(value, other, strict=True)
        elif name in ("running", "best_running"):
            assert value.keys() == other.keys()
            flat = zip(_flat(value), _flat(other), strict=True)
        else:
            assert value == other, name
            continue
        for a, b in flat:
            assert np.asarray(a).dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def _flat(nest):
    if isinstance(nest, dict):
        nest = [nest[key] for key in sorted(nest)]
    if isinstance(nest, list | tuple):
        return [leaf for part in nest for leaf in _flat(part)]
    return [nest]


def test_no_file_and_an_empty_one_are_a_beginning(tmp_path):
    path = tmp_path / "file"
    assert read_checkpoint(path, {}, checkpoint()) is None
    path.touch()
    assert read_checkpoint(path, {}, checkpoint()) is None


def test_an_ended_training_is_not_repeated(stored):
    first = learner(stored).fit(X, Y)
    with mock.patch.object(training, "fit", side_effect=AssertionError):
        again = learner(stored).fit(X, Y)
    same(first, again)
    assert again.n_episodes_ == 3


def test_more_episodes_go_on_from_where_it_ended(tmp_path):
    path = tmp_path / "training"
    settings = {"encoder": noisy_encoder}
    learner(path, n_episodes=100, **settings).fit(X, Y)
    more = learner(path, n_episodes=250, **settings).fit(X, Y)
    assert more.history_["episodes"] == [100, 200, 250]
    same(more, learner(None, n_episodes=250, **settings).fit(X, Y))


def test_a_training_may_go_on_more_slowly(tmp_path):
    path = tmp_path / "training"
    first = learner(path, n_episodes=100).fit(X, Y)
    slower = learner(path, n_episodes=200, outer_learning_rate=1e-9).fit(X, Y)
    for one, other in zip(
        first._learnt.network.get_weights(), slower._learnt.network.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k_shot": 2}, "belongs to another training: k_shot was 1, is 2; use the same data and"),
        ({"transductive": True}, "transductive was False, is True"),
        ({"random_state": 1}, "seed was [0-9]+, is [0-9]+"),
        ({"encoder": noisy_encoder}, "encoder was '.*tiny_encoder', is '.*noisy_encoder'"),
        ({"method": Prototypical()}, "method was 'prototypical', is '.*Prototypical'"),
        ({"early_stopping": 2}, "early_stopping was False, is 2"),
    ],
)
def test_another_training_is_refused_and_named(stored, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        learner(stored, **changes).fit(X, Y)
    assert str(stored) in str(error.value)
    learner(stored).fit(X, Y)


def test_other_weights_of_a_given_encoder_are_refused(tmp_path):
    path = tmp_path / "training"
    first, other = (tiny_encoder(X.shape[1:]) for _ in range(2))
    learner(path, encoder=first).fit(X, Y)
    learner(path, encoder=first).fit(X, Y)
    with pytest.raises(ValueError, match="encoder.weights differs"):
        learner(path, encoder=other).fit(X, Y)


def test_other_data_are_refused_and_named(stored):
    for rows, labels, message in (
        (X + 1, Y, "another training: X differs; use the same data and parameters, or a new path"),
        (X, Y[::-1], "another training: y differs"),
        (X[:-1], Y[:-1], "X differs, y differs"),
    ):
        with pytest.raises(ValueError, match=message):
            learner(stored).fit(rows, labels)
    # labels are names: which class is which is in the order of rows
    assert learner(stored).fit(X, Y + 10).classes_.tolist() == list(range(10, 16))


def test_any_seed_will_do_where_none_is_asked_for(tmp_path):
    path = tmp_path / "training"
    first = learner(path, random_state=None).fit(X, Y)
    again = learner(path, random_state=None).fit(X, Y)
    same(first, again)


def test_other_and_damaged_files_are_refused(stored, tmp_path):
    fitted = learner(None).fit(X, Y)
    content = stored.read_bytes()
    for path, change, message in (
        ("text", lambda p: p.write_text("none"), "is no file of a meta-training"),
        ("half", lambda p: p.write_bytes(content[: len(content) // 2]), "no file of a meta-train"),
        ("bit", lambda p: p.write_bytes(_flipped(content)), "is no file of a meta-training"),
        ("saved", lambda p: save(fitted, p), "holds a .*FewShotLearner, not a meta-training"),
    ):
        change(tmp_path / path)
        before = (tmp_path / path).read_bytes()
        with pytest.raises(ValueError, match=message) as error:
            learner(tmp_path / path).fit(X, Y)
        assert path in str(error.value)
        assert (tmp_path / path).read_bytes() == before


def _flipped(content: bytes) -> bytes:
    place = content.rindex(b"\x93NUMPY") + 140
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_paths_that_cannot_be_written_are_refused_before_training(tmp_path):
    with mock.patch.object(training, "fit", side_effect=AssertionError):
        with pytest.raises(IsADirectoryError, match="is a folder; give the path of a file in it"):
            learner(tmp_path).fit(X, Y)
        with pytest.raises(FileNotFoundError, match="lies in a folder that does not exist"):
            learner(str(tmp_path / "none" / "file")).fit(X, Y)


LONG = {"encoder": noisy_encoder, "n_episodes": 250, "early_stopping": 5}


def train_slowly(path, pipe):
    """Tells of its second write, in the middle of which it stays."""
    sync, n_writes = os.fsync, []

    def synced(file):
        n_writes.append(file)
        if len(n_writes) == 2:
            pipe.send("writing")
            time.sleep(600)
        sync(file)

    with mock.patch.object(archive.os, "fsync", synced):
        learner(path, **LONG).fit(X, Y)


def test_a_killed_process_loses_an_epoch_at_most(tmp_path):
    path = tmp_path / "training"
    pipe, other = multiprocessing.Pipe()
    process = start(train_slowly, path, other)
    assert pipe.poll(120)
    assert pipe.recv() == "writing"
    process.kill()
    wait_for([process])
    with mock.patch.object(training, "fit", wraps=training.fit) as fits:
        resumed = learner(path, **LONG).fit(X, Y)
    assert fits.call_count == 2  # of three epochs
    same(resumed, learner(None, **LONG).fit(X, Y))
