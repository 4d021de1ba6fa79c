"""A search on disk: one finished evaluation is one finished trial of an Optuna journal."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from autokit.nas.architecture import to_json
from autokit.nas.protocols import Evaluation

FORMAT = 1
STUDY = "autokit"
_FIRST = b'{"op_code":'  # how every record of Optuna's journal begins


class SearchStorage:
    """The durable record of one search.

    The file is a journal of Optuna's (``optuna.storages.JournalStorage``), so Optuna's own tools
    read it: values are scores, intermediate values are the rungs, and the whole evaluation is in
    the user attribute "evaluation". A trial is written, and synchronised to the disk, as a single
    line; a line that a crash tore is cut off on opening.

    Parameters
    ----------
    path : str or path-like
        The journal; made if it is not there. Its folder must exist.
    fingerprint : dict of str to JSON value
        What must agree for the search to go on: hashes of the data and parameters.

    Attributes
    ----------
    evaluations : dict of int to Evaluation
        What was found on opening, by number; `Evaluation.architecture` is in JSON form.

    Raises
    ------
    ValueError
        The file is no journal of a search, or belongs to another search: the message says in what
        they differ.
    OSError
        The file cannot be written.
    """

    def __init__(self, path, fingerprint: dict[str, Any]):
        self.path = Path(path)
        check_writable(self.path)
        with _quiet_optuna() as optuna:
            journal = optuna.storages.journal
            with _lock(self.path):
                _repair(self.path)
            backend = journal.JournalFileBackend(str(self.path), lock_obj=_make_lock(self.path))
            self._storage = optuna.storages.JournalStorage(backend)
            self._study = self._open_study(optuna, fingerprint)
        self.evaluations = self._read()

    def write(self, evaluation: Evaluation) -> None:
        """Put a finished evaluation on disk before returning.

        Raises
        ------
        OSError
            The file cannot be written, for example because the disk is full.
        """
        with _quiet_optuna() as optuna:
            trial = optuna.trial
            states = trial.TrialState
            state = {"failed": states.FAIL, "pruned": states.PRUNED}.get(
                evaluation.status, states.COMPLETE
            )
            template = trial.create_trial(
                state=state,
                value=evaluation.score,
                intermediate_values=dict(evaluation.rungs),
                user_attrs={"evaluation": _to_json(evaluation)},
            )
            try:
                self._storage.create_new_trial(self._study, template)
            except OSError as error:
                raise type(error)(
                    error.errno,
                    f"the 'storage' {str(self.path)!r} could not be written "
                    f"({os.strerror(error.errno or 0)}); free space or choose another path",
                ) from error

    def recall(self, number: int, architecture: Any) -> Evaluation:
        """The stored evaluation of a trial, checked to be of `architecture`."""
        stored = self.evaluations[number]
        if stored.architecture != to_json(architecture):
            raise ValueError(
                f"storage {str(self.path)!r} holds another search: its trial {number} evaluated "
                f"{stored.architecture}, but this search proposes {to_json(architecture)}; it was "
                "written by another version of autokit or of the space: choose a new path."
            )
        return dataclasses.replace(stored, architecture=architecture)

    @property
    def seconds(self) -> float:
        """Wall time of the stored trials."""
        return sum(e.seconds for e in self.evaluations.values())

    def _open_study(self, optuna, fingerprint) -> int:
        studies = {s.study_name: s._study_id for s in self._storage.get_all_studies()}
        if STUDY not in studies:
            if studies:
                raise ValueError(
                    f"storage {str(self.path)!r} holds Optuna studies of other programs "
                    f"({', '.join(studies)}); choose a new path."
                )
            maximize = optuna.study.StudyDirection.MAXIMIZE
            studies[STUDY] = self._storage.create_new_study([maximize], STUDY)
        study = studies[STUDY]
        found = self._storage.get_study_user_attrs(study).get("fingerprint")
        wanted = json.loads(json.dumps({"format": FORMAT, **fingerprint}))
        if found is None:
            self._storage.set_study_user_attr(study, "fingerprint", wanted)
        elif found != wanted:
            raise ValueError(
                f"storage {str(self.path)!r} belongs to another search: "
                f"{_differences(found, wanted)}; use the same data and parameters, or a new path."
            )
        return study

    def _read(self) -> dict[int, Evaluation]:
        trials = self._storage.get_all_trials(self._study, deepcopy=False)
        found = [_from_json(t.user_attrs["evaluation"]) for t in trials if t.user_attrs]
        return {e.number: e for e in found}


def stored_fingerprint(path) -> dict[str, Any] | None:
    """The fingerprint of the search in a journal, None if there is none.

    Raises
    ------
    ValueError
        The file is no journal.
    """
    path = Path(path)
    if not path.exists():
        return None
    for line in _complete_lines(path):
        found = line.get("user_attr", {}).get("fingerprint")
        if found is not None:
            return found
    return None


def check_writable(path) -> None:
    """Raise before any training where a journal could not be written."""
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise IsADirectoryError(
            f"The 'storage' parameter {str(path)!r} is a folder; give the path of a file in it."
        )
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The 'storage' parameter {str(path)!r} lies in a folder that does not exist; make "
            f"the folder {str(folder)!r} first."
        )
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise type(error)(
            f"The 'storage' parameter {str(path)!r} cannot be written ({error.strerror}); choose "
            "another path or change its permissions."
        ) from error


def _differences(found: dict, wanted: dict) -> str:
    parts = []
    for name in {**found, **wanted}:
        was, now = found.get(name), wanted.get(name)
        if was == now:
            continue
        is_hash = isinstance(was, str) and was.startswith("sha256:")
        parts.append(f"{name} differs" if is_hash else f"{name} was {was!r}, is {now!r}")
    return ", ".join(parts)


def _to_json(evaluation: Evaluation) -> dict:
    values = {f.name: getattr(evaluation, f.name) for f in dataclasses.fields(evaluation)}
    return values | {"architecture": to_json(evaluation.architecture)}


def _from_json(values: dict) -> Evaluation:
    known = {f.name for f in dataclasses.fields(Evaluation)}
    values = {name: value for name, value in values.items() if name in known}
    values["rungs"] = tuple((int(epochs), score) for epochs, score in values["rungs"])
    values["values"] = tuple(values.get("values", ()))
    return Evaluation(**values)


def _complete_lines(path: Path) -> list[dict]:
    """The journal's records; a torn end is left out.

    A process that is killed while it writes, or a power cut, leaves a last line without its end
    or filled with zeros. Anything unreadable before the last line is no such accident.
    """
    lines = path.read_bytes().split(b"\n")
    records = []
    for i, line in enumerate(lines):
        is_last = not any(rest.strip(b"\0 \r") for rest in lines[i + 1 :])
        record = _record(line) if i < len(lines) - 1 else None
        if record is not None:
            records.append(record)
        elif is_last and (records or _may_begin(line.strip(b"\0"))):
            break
        else:
            raise ValueError(
                f"The 'storage' parameter {str(path)!r} is not the journal of a search, or is "
                f"damaged in line {i + 1}; choose another path or restore the file."
            )
    return records


def _record(line: bytes) -> dict | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "op_code" in record else None


def _may_begin(line: bytes) -> bool:
    return line.startswith(_FIRST) or _FIRST.startswith(line)


def _repair(path: Path) -> None:
    """Cut off a torn last line; what is before it was synchronised to the disk."""
    n_lines = len(_complete_lines(path))
    content = path.read_bytes()
    end = 0
    for _ in range(n_lines):
        end = content.index(b"\n", end) + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
            file.flush()
            os.fsync(file.fileno())


class _FileLock:
    """Mutual exclusion that the operating system ends with the process that holds it.

    Optuna's own locks are files that a killed process leaves behind, for which the next one
    waits half a minute.
    """

    def __init__(self, path: str):
        self._path, self._file = path, None

    def acquire(self) -> bool:
        import fcntl

        self._file = open(self._path, "ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        self._file.close()
        self._file = None


def _make_lock(path: Path):
    try:
        import fcntl  # noqa: F401
    except ImportError:  # Windows
        from optuna.storages.journal import JournalFileOpenLock

        return JournalFileOpenLock(str(path))
    return _FileLock(str(path))


@contextlib.contextmanager
def _lock(path: Path):
    lock = _make_lock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _quiet_optuna():
    """Optuna without its log lines, and with the user's level restored afterwards."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield optuna
    finally:
        optuna.logging.set_verbosity(level)
