"""What every stored search shares; the searches' own tests are in tests/nas and tests/tuning."""

from __future__ import annotations

import json
import os
import threading

import optuna
import pytest

from autokit.persistence.journal import make_backend
from autokit.persistence.studies import StoredStudy, quiet_optuna, stored_fingerprint


def _lines(path, n):
    backend = make_backend(path)
    for i in range(n):
        backend.append_logs([{"op_code": 2, "i": i, "pad": "x" * 300}])


def test_lines_of_several_writers_do_not_mix(tmp_path):
    path = tmp_path / "x"
    path.touch()
    # each has files of its own, as a process has
    writers = [threading.Thread(target=_lines, args=(path, 30)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted(record["i"] for record in records) == sorted(3 * list(range(30)))


def test_a_line_that_another_process_tore_is_cut_off_before_the_next(tmp_path):
    path = tmp_path / "x"
    mine = StoredStudy(path, {})
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"dead')
    mine.tell(note="here")
    content = path.read_bytes()
    assert content.startswith(whole) and b"dead" not in content
    assert StoredStudy(path, {}).cards()[mine.name]["note"] == "here"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_line_that_cannot_be_synchronised_is_not_there(tmp_path, monkeypatch, error):
    path = tmp_path / "x"
    study = StoredStudy(path, {})
    before = path.read_bytes()

    def fsync(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(type(error)):
        study.tell(note="lost")
    monkeypatch.undo()
    assert path.read_bytes() == before
    study.tell(note="kept")
    assert StoredStudy(path, {}).cards()[study.name]["note"] == "kept"


def test_many_differences_are_not_all_told(tmp_path):
    StoredStudy(tmp_path / "x", {f"p{i}": i for i in range(9)})
    with pytest.raises(ValueError, match=r"p0 was 0, is 1, .* and 3 more; use the same data"):
        StoredStudy(tmp_path / "x", {f"p{i}": i + 1 for i in range(9)})


def test_the_fingerprint_of_a_database(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    assert stored_fingerprint(url) is None
    StoredStudy(url, {"a": [1, None]})
    assert stored_fingerprint(url) == {"format": 1, "a": [1, None]}
    assert stored_fingerprint(tmp_path / "none") is None


def test_the_level_of_optuna_is_the_users_after_the_last_block():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    entered, leave = threading.Event(), threading.Event()

    def other():
        with quiet_optuna():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with quiet_optuna():
        thread.start()
        entered.wait(10)
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    leave.set()
    thread.join()
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    optuna.logging.set_verbosity(before)
