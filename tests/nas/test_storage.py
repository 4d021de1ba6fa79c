from __future__ import annotations

import dataclasses
import json
import logging
import os
import stat

import pytest

from autokit.nas import Evaluation, MLPArchitecture, SearchStorage
from autokit.nas.architecture import to_json
from autokit.nas.storage import stored_fingerprint

NET = MLPArchitecture((8, 4), "relu", None, 0.1, False)
NETS = [NET, *(dataclasses.replace(NET, dropout=d) for d in (0.2, 0.3, 0.4))]
EVALUATIONS = [
    Evaluation(0, NET, 0.1 + 0.2, 1 / 3, "complete", 4, 1.5, 10, ((1, 0.1), (4, 0.3)), None, 0.5),
    Evaluation(1, NETS[1], 0.2, 0.5, "pruned", 1, 0.5, 10, ((1, 0.2),), latency_ms=0.1, seed=7),
    Evaluation(2, NETS[2], None, None, "failed", seconds=0.25, error="ValueError: no"),
    Evaluation(3, NETS[3], 0.1, 0.5, "timeout", 1, 0.5, 10, ((1, 0.1),), values=(0.1, -2.0)),
]
PRINT = {"X": "sha256:1", "y": "sha256:2", "epochs": 10, "widths": (1, 2)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "search.journal"


@pytest.fixture
def written(path):
    storage = SearchStorage(path, PRINT)
    for evaluation in EVALUATIONS:
        storage.write(evaluation)
    return path


def test_evaluations_come_back_to_the_bit(written):
    storage = SearchStorage(written, PRINT)
    assert [e.number for e in storage.evaluations] == [0, 1, 2, 3]
    assert storage.n_waiting == 4
    assert [storage.recall(net) for net in NETS] == EVALUATIONS
    assert storage.n_waiting == 0 and storage.recall(NET) is None
    assert storage.seconds == 2.75


def test_each_evaluation_is_one_line_on_disk(path):
    storage = SearchStorage(path, PRINT)
    for n_written, evaluation in enumerate(EVALUATIONS, 1):
        storage.write(evaluation)
        assert path.read_bytes().count(b"\n") == 3 + n_written


def test_optuna_reads_the_journal(written):
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(written))
    study = optuna.load_study(study_name="autokit", storage=optuna.storages.JournalStorage(backend))
    states = [t.state.name for t in study.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]
    assert study.best_value == EVALUATIONS[0].score
    assert study.trials[0].intermediate_values == {1: 0.1, 4: 0.3}


def test_optuna_stays_as_verbose_as_the_user_set_it(path, caplog):
    import optuna

    before = optuna.logging.get_verbosity()
    with caplog.at_level(logging.INFO, logger="optuna"):
        SearchStorage(path, PRINT).write(EVALUATIONS[0])
    assert optuna.logging.get_verbosity() == before
    assert not caplog.records


def test_another_search_is_refused_by_name(written):
    other = PRINT | {"X": "sha256:9", "epochs": 20}
    with pytest.raises(ValueError) as caught:
        SearchStorage(written, other)
    assert str(caught.value) == (
        f"storage {str(written)!r} belongs to another search: X differs, epochs was 10, is 20; "
        "use the same data and parameters, or a new path."
    )


@pytest.mark.parametrize("junk", [b"", b"\0" * 40, b"\0" * 9 + b"\n\0\0"])
def test_every_torn_end_is_cut_off(written, junk):
    content = written.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == 10]
    for cut in {
        0,
        1,
        5,
        12,
        ends[0],
        ends[1],
        ends[1] + 30,
        ends[2] - 1,
        ends[3],
        len(content) - 1,
    }:
        written.write_bytes(content[:cut] + junk)
        storage = SearchStorage(written, PRINT)
        whole = max(0, sum(end <= cut for end in ends) - 3)
        assert [e.number for e in storage.evaluations] == list(range(whole))
        storage.write(EVALUATIONS[whole])
        assert len(SearchStorage(written, PRINT).evaluations) == whole + 1


def test_damage_in_the_middle_is_no_torn_end(written):
    lines = written.read_bytes().split(b"\n")
    lines[4] = lines[4][:20]
    written.write_bytes(b"\n".join(lines))
    with pytest.raises(ValueError, match="damaged in line 5; choose another path or restore"):
        SearchStorage(written, PRINT)


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"hello", b"[1]\n", b'{"x": 1}\n', b"\x89PNG\r\n"]
)
def test_foreign_files_are_refused_untouched(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not the journal of a search") as caught:
        SearchStorage(path, PRINT)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    with pytest.raises(ValueError, match="is not the journal"):
        stored_fingerprint(path)


def test_studies_of_others_are_refused(path):
    import optuna

    journal = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    journal.create_new_study([optuna.study.StudyDirection.MINIMIZE], "mine")
    with pytest.raises(ValueError, match=r"holds Optuna studies of other programs \(mine\)"):
        SearchStorage(path, PRINT)


def test_folders_that_cannot_hold_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="'storage' parameter .* make the folder"):
        SearchStorage(tmp_path / "no" / "x.journal", PRINT)
    with pytest.raises(IsADirectoryError, match="is a folder; give the path of a file"):
        SearchStorage(tmp_path, PRINT)


def test_a_file_that_cannot_be_written(monkeypatch, path):
    from pathlib import Path

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match=r"cannot be written \(Permission denied\)"):
        SearchStorage(path, PRINT)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError, match="cannot be written"):
        SearchStorage(tmp_path / "x.journal", PRINT)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_names_the_storage(path):
    storage = SearchStorage(path, PRINT)
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"the 'storage' .* could not be written \(No space left"):
        storage.write(EVALUATIONS[0])


def test_the_fingerprint_is_stored_as_json(written):
    assert stored_fingerprint(written) == json.loads(json.dumps({"format": 1, **PRINT}))
    assert SearchStorage(written, PRINT).evaluations[0].architecture == to_json(NET)


def test_a_lock_held_by_a_dead_process_does_not_wait(path):
    import subprocess
    import sys
    import time

    SearchStorage(path, PRINT)
    code = (
        "import os, sys, fcntl\n"
        "f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    started = time.monotonic()
    SearchStorage(path, PRINT).write(EVALUATIONS[0])
    assert time.monotonic() - started < 5
