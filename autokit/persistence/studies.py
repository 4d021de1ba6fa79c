"""Searches on disk: an Optuna study that several processes may share.

A trial appears in it when it is finished, at once and whole: in a file as one line that is
synchronised to the disk (a line that a crash tore is cut off), in a database as one transaction.
A process that dies leaves nothing behind that others wait for.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from autokit.persistence.journal import (
    check_writable,
    complete_lines,
    locked,
    make_backend,
    repair,
)

FORMAT = 1
STUDY = "autokit"
_WORKER = "worker:"
_LONGEST_RUN_S = 86_400.0  # after which a process of another machine counts as gone
_SHOWN_DIFFERENCES = 6
# what a database says to one of several processes that make its tables at the same time
_MEANWHILE = ("already exists", "duplicate", "unique constraint", "locked", "no such table")
_OPENINGS = 8


class StoredStudy:
    """The study of one search, in a file or a database, opened and signed in to.

    Parameters
    ----------
    path : str or path-like
        A file, Optuna's journal, made if it is not there in a folder that must exist; or the URL
        of a database, for example ``sqlite:///search.db`` or ``postgresql://user@host/name``.
    fingerprint : dict of str to JSON value
        What must agree for the search to go on: hashes of the data and parameters.
    n_objectives : int, default=1
        All of them maximised.

    Attributes
    ----------
    name : str
        Of this process among the workers of the study.
    worker : int
        0 for the process that has the search to itself; another number, drawn at random, for one
        that joins while others are at work.

    Raises
    ------
    ValueError
        The file is no journal of a search, or belongs to another search: the message says in what
        they differ.
    OSError
        The storage cannot be written.
    """

    def __init__(self, path, fingerprint: dict[str, Any], n_objectives: int = 1):
        self.path = path if is_url(path) else Path(path)
        if not is_url(path):
            check_writable(self.path)
        self._seen: set[int] = set()
        with quiet_optuna() as optuna:
            self._storage = _open(self.path)
            with self._writing(optuna):
                self._study = self._open_study(optuna, fingerprint, n_objectives)
                self.worker = self._sign_in()

    def add(self, trial: Any) -> None:
        """Put a finished Optuna trial on disk before returning.

        Raises
        ------
        OSError
            The storage cannot be written, for example because the disk is full.
        """
        with quiet_optuna() as optuna, self._writing(optuna):
            self._seen.add(self._storage.create_new_trial(self._study, trial))

    def unseen(self) -> list[Any]:
        """Optuna trials that this process has neither added nor been given before."""
        with quiet_optuna():
            trials = self._storage.get_all_trials(self._study, deepcopy=False)
        new = [trial for trial in trials if trial._trial_id not in self._seen]
        self._seen.update(trial._trial_id for trial in new)
        return new

    def tell(self, **facts: Any) -> None:
        """Put facts about this process on its card, for the others to read.

        Raises
        ------
        OSError
            The storage cannot be written.
        """
        self._card |= facts
        with quiet_optuna() as optuna, self._writing(optuna):
            self._storage.set_study_user_attr(self._study, _WORKER + self.name, self._card)

    def cards(self) -> dict[str, dict[str, Any]]:
        """What each process that ever signed in has told, by its name; the earliest first."""
        with quiet_optuna():
            attributes = self._storage.get_study_user_attrs(self._study)
        cards = [
            (key.removeprefix(_WORKER), card)
            for key, card in attributes.items()
            if key.startswith(_WORKER)
        ]
        return dict(sorted(cards, key=lambda item: (item[1]["started"], item[0])))

    def close(self) -> None:
        """Take leave of the others that work on this search."""
        with contextlib.suppress(OSError):
            self.tell(ended=True)

    def _open_study(self, optuna, fingerprint, n_objectives) -> int:
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
                self._storage.create_new_study([maximize] * n_objectives, STUDY)
            studies[STUDY] = self._storage.get_study_id_from_name(STUDY)
        study = studies[STUDY]
        found = self._storage.get_study_user_attrs(study).get("fingerprint")
        if found is None:
            self._storage.set_study_user_attr(study, "fingerprint", wanted)
        elif found != wanted:
            raise ValueError(
                f"storage {str(self.path)!r} belongs to another search: "
                f"{differences(found, wanted)}; use the same data and parameters, or a new path."
            )
        return study

    def _sign_in(self) -> int:
        """Sign in, and find out whether somebody else had done so before and is still there."""
        self.name = uuid.uuid4().hex
        self._card = card_of_process()
        self.tell()
        others = self.cards()
        for name, card in others.items():
            if name == self.name:
                break
            if is_at_work(card):
                return 1 + int(self.name[:7], 16)
        return 0

    @contextlib.contextmanager
    def _writing(self, optuna):
        try:
            yield
        except (OSError, optuna.exceptions.StorageInternalError) as error:
            if "the 'storage' " in str(error):
                raise
            raise _unwritable(self.path, error) from error


def card_of_process() -> dict[str, Any]:
    """What tells this process from all others, for `is_at_work`."""
    pid = os.getpid()
    card = {"host": socket.gethostname(), "pid": pid, "started": time.time()}
    return card | {"born": _born(pid)}


def is_at_work(card: dict[str, Any], longest_s: float = _LONGEST_RUN_S) -> bool:
    """Whether the process of a card still runs, so far as can be known.

    Parameters
    ----------
    card : dict
        Of `StoredStudy.cards`.
    longest_s : float, default=86400
        How long a process of another machine counts after its last word.
    """
    if card.get("ended"):
        return False
    if not is_here(card):
        return time.time() - card.get("told", card["started"]) < longest_s
    if card["pid"] == os.getpid() or os.name != "posix":
        return False
    try:
        os.kill(card["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    born = card.get("born")
    return born is None or _born(card["pid"]) == born  # the number may be another's by now


def is_here(card: dict[str, Any]) -> bool:
    """Whether the process of a card is one of this machine."""
    return card["host"] == socket.gethostname()


def _born(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None where that is not told."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = state.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def stored_fingerprint(path) -> dict[str, Any] | None:
    """The fingerprint of the search in a storage, None if there is none.

    Raises
    ------
    ValueError
        The file is no journal, or the database cannot be opened.
    """
    if is_url(path):
        with quiet_optuna():
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
    with quiet_optuna() as optuna:
        if is_url(path):
            return _open_database(path, optuna)
        with locked(path):
            repair(path)
        return optuna.storages.JournalStorage(make_backend(path))


def _open_database(url: str, optuna):
    for attempts_left in reversed(range(_OPENINGS)):
        try:
            return optuna.storages.get_storage(url)  # reads a finished trial only once
        except Exception as error:  # whatever the database's driver raises
            reason = " ".join(str(error).split())[:200]
            if attempts_left and any(sign in reason.lower() for sign in _MEANWHILE):
                time.sleep(random.Random().uniform(0.1, 0.5))
                continue
            raise ValueError(
                f"The 'storage' parameter {url!r} cannot be opened ({reason}); check the URL, "
                "install the database's driver, or give the path of a file."
            ) from error


def _unwritable(path, error: Exception) -> OSError:
    kind = type(error) if isinstance(error, OSError) else OSError
    number = getattr(error, "errno", None) or 0
    reason = os.strerror(number) if number else " ".join(str(error).split())[:200]
    return kind(
        number,
        f"the 'storage' {str(path)!r} could not be written ({reason}); free space or choose "
        "another path",
    )


def differences(found: dict, wanted: dict) -> str:
    """In what two fingerprints differ, for a message."""
    parts = []
    for name in {**found, **wanted}:
        was, now = found.get(name), wanted.get(name)
        if was == now:
            continue
        is_hash = isinstance(was, str) and was.startswith("sha256:")
        parts.append(f"{name} differs" if is_hash else f"{name} was {was!r}, is {now!r}")
    more = len(parts) - _SHOWN_DIFFERENCES
    return ", ".join(parts[:_SHOWN_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")


_quiet_lock = threading.Lock()
_quiet: dict[str, int] = {"blocks": 0, "level": 0}


@contextlib.contextmanager
def quiet_optuna():
    """Optuna without its log lines, and with the user's level restored after the last block."""
    import optuna

    with _quiet_lock:
        if _quiet["blocks"] == 0:
            _quiet["level"] = optuna.logging.get_verbosity()
            optuna.logging.set_verbosity(optuna.logging.ERROR)
        _quiet["blocks"] += 1
    try:
        yield optuna
    finally:
        with _quiet_lock:
            _quiet["blocks"] -= 1
            if _quiet["blocks"] == 0:
                optuna.logging.set_verbosity(_quiet["level"])
