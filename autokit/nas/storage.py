"""A search on disk: one finished evaluation is one finished trial of an Optuna study."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import time
import uuid
from pathlib import Path
from typing import Any

from autokit.nas.architecture import to_json
from autokit.nas.protocols import Evaluation
from autokit.persistence.journal import check_writable, complete_lines, locked, make_lock, repair

FORMAT = 1
STUDY = "autokit"
_WORKER = "worker:"
_LONGEST_RUN_S = 86_400.0  # after which a process of another machine counts as gone


class SearchStorage:
    """The durable record of one search, which several processes may share.

    The record is a study of Optuna's, so Optuna's own tools read it: values are scores,
    intermediate values are the rungs, and the whole evaluation is in the user attribute
    "evaluation". A trial appears when it is finished, at once and whole: in a file as one line
    that is synchronised to the disk (a line that a crash tore is cut off on opening), in a
    database as one transaction. A process that dies leaves nothing behind that others wait for.

    Parameters
    ----------
    path : str or path-like
        A file, Optuna's journal, made if it is not there in a folder that must exist; or the URL
        of a database, for example ``sqlite:///search.db`` or ``postgresql://user@host/name``.
    fingerprint : dict of str to JSON value
        What must agree for the search to go on: hashes of the data and parameters.

    Attributes
    ----------
    evaluations : list of Evaluation
        What was found on opening, in the order of finishing; `Evaluation.architecture` is in JSON
        form.
    worker : int
        0 for the process that has the search to itself; another number, drawn at random, for one
        that joins while others are at work.
    seconds : float
        Wall time of the stored trials, those of joining processes left out.

    Raises
    ------
    ValueError
        The file is no journal of a search, or belongs to another search: the message says in what
        they differ.
    OSError
        The storage cannot be written.
    """

    def __init__(self, path, fingerprint: dict[str, Any]):
        self.path = path if is_url(path) else Path(path)
        check_storage(self.path)
        self._storage = _open(self.path)
        self.seconds = 0.0
        self._seen: set[int] = set()
        with _quiet_optuna() as optuna:
            self._study = self._open_study(optuna, fingerprint)
            self.worker = self._register()
            self._waiting = self._unseen()
        self.evaluations = list(self._waiting.values())

    def write(self, evaluation: Evaluation) -> None:
        """Put a finished evaluation on disk before returning.

        Raises
        ------
        OSError
            The storage cannot be written, for example because the disk is full.
        """
        with _quiet_optuna() as optuna:
            trial = optuna.trial
            states = trial.TrialState
            state = states.COMPLETE if evaluation.score is not None else states.FAIL
            if evaluation.status == "pruned":
                state = states.PRUNED
            template = trial.create_trial(
                state=state,
                value=evaluation.score,
                intermediate_values=dict(evaluation.rungs),
                user_attrs={"evaluation": _to_json(evaluation), "worker": self.worker},
            )
            try:
                self._seen.add(self._storage.create_new_trial(self._study, template))
            except (OSError, optuna.exceptions.StorageInternalError) as error:
                raise _unwritable(self.path, error) from error

    def recall(self, architecture: Any) -> Evaluation | None:
        """The stored evaluation of an architecture that this process has not seen yet."""
        found = self._waiting.pop(_key_of(to_json(architecture)), None)
        return None if found is None else dataclasses.replace(found, architecture=architecture)

    def strangers(self) -> list[Evaluation]:
        """All stored evaluations that this process has not seen yet, architectures in JSON form.

        What other processes have finished since, and what this search would not propose itself.
        """
        with _quiet_optuna():
            self._waiting |= self._unseen()
        found, self._waiting = list(self._waiting.values()), {}
        return found

    @property
    def n_waiting(self) -> int:
        """Evaluations known to be stored and not seen yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Take leave of the others that work on this search."""
        with _quiet_optuna(), contextlib.suppress(OSError):
            self._storage.set_study_user_attr(self._study, self._name, self._card | {"ended": True})

    def _open_study(self, optuna, fingerprint) -> int:
        wanted = json.loads(json.dumps({"format": FORMAT, **fingerprint}))
        studies = {s.study_name: s._study_id for s in self._storage.get_all_studies()}
        if STUDY not in studies:
            if studies:
                raise ValueError(
                    f"storage {str(self.path)!r} holds Optuna studies of other programs "
                    f"({', '.join(studies)}); choose a new path."
                )
            maximize = optuna.study.StudyDirection.MAXIMIZE
            with contextlib.suppress(optuna.exceptions.DuplicatedStudyError):  # made meanwhile
                self._storage.create_new_study([maximize], STUDY)
            studies[STUDY] = self._storage.get_study_id_from_name(STUDY)
        study = studies[STUDY]
        found = self._storage.get_study_user_attrs(study).get("fingerprint")
        if found is None:
            self._storage.set_study_user_attr(study, "fingerprint", wanted)
        elif found != wanted:
            raise ValueError(
                f"storage {str(self.path)!r} belongs to another search: "
                f"{_differences(found, wanted)}; use the same data and parameters, or a new path."
            )
        return study

    def _register(self) -> int:
        """Sign in, and find out whether somebody else had done so before and is still there."""
        name = uuid.uuid4().hex
        self._name = _WORKER + name
        self._card = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        self._storage.set_study_user_attr(self._study, self._name, self._card)
        cards = self._storage.get_study_user_attrs(self._study)
        mine = (self._card["started"], self._name)
        is_first = not any(
            key.startswith(_WORKER) and (card["started"], key) < mine and _is_at_work(card)
            for key, card in cards.items()
        )
        return 0 if is_first else 1 + int(name[:7], 16)

    def _unseen(self) -> dict[str, Evaluation]:
        found: dict[str, Evaluation] = {}
        for trial in self._storage.get_all_trials(self._study, deepcopy=False):
            if trial._trial_id in self._seen or "evaluation" not in trial.user_attrs:
                continue
            self._seen.add(trial._trial_id)
            evaluation = _from_json(trial.user_attrs["evaluation"])
            found[_key_of(evaluation.architecture)] = evaluation
            if trial.user_attrs.get("worker", 0) == 0:
                self.seconds += evaluation.seconds
        return found


def stored_fingerprint(path) -> dict[str, Any] | None:
    """The fingerprint of the search in a storage, None if there is none.

    Raises
    ------
    ValueError
        The file is no journal, or the database cannot be opened.
    """
    if is_url(path):
        storage = _open(path)
        studies = {s.study_name: s._study_id for s in storage.get_all_studies()}
        attributes = storage.get_study_user_attrs(studies[STUDY]) if STUDY in studies else {}
        return attributes.get("fingerprint")
    path = Path(path)
    if not path.exists():
        return None
    for line in complete_lines(path):
        found = line.get("user_attr", {}).get("fingerprint")
        if found is not None:
            return found
    return None


def is_url(path) -> bool:
    """Whether a storage is a database's URL and not a file."""
    return isinstance(path, str) and "://" in path


def check_storage(path) -> None:
    """Raise before any training where a storage could not be written."""
    if is_url(path):
        _open(path)
    else:
        check_writable(path)


def _open(path):
    """Optuna's storage at a path or URL."""
    with _quiet_optuna() as optuna:
        if is_url(path):
            try:
                return optuna.storages.RDBStorage(path)
            except Exception as error:  # whatever the database's driver raises
                reason = " ".join(str(error).split())[:200]
                raise ValueError(
                    f"The 'storage' parameter {path!r} cannot be opened ({reason}); check the URL, "
                    "install the database's driver, or give the path of a file."
                ) from error
        with locked(path):
            repair(path)
        journal = optuna.storages.journal
        backend = journal.JournalFileBackend(str(path), lock_obj=make_lock(path))
        return optuna.storages.JournalStorage(backend)


def _is_at_work(card: dict) -> bool:
    if card.get("ended"):
        return False
    if card["host"] != socket.gethostname():
        return time.time() - card["started"] < _LONGEST_RUN_S
    if card["pid"] == os.getpid() or os.name != "posix":
        return False
    try:
        os.kill(card["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _unwritable(path, error: Exception) -> OSError:
    kind = type(error) if isinstance(error, OSError) else OSError
    number = getattr(error, "errno", None) or 0
    reason = os.strerror(number) if number else " ".join(str(error).split())[:200]
    return kind(
        number,
        f"the 'storage' {str(path)!r} could not be written ({reason}); free space or choose "
        "another path",
    )


def _key_of(architecture) -> str:
    return json.dumps(architecture, sort_keys=True)


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
