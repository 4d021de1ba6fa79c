"""A hyperparameter search on disk: one finished trial is one finished trial of an Optuna study."""

from __future__ import annotations

import copy
import random
import threading
import time
from collections import Counter
from typing import Any

from autokit.persistence.studies import StoredStudy, is_at_work, is_here
from autokit.tuning.trial import Trial

_TRIAL, _BY = "trial", "by"
# what a process of another machine may take for a trial, in multiples of the longest so far
_PATIENCE, _LEAST_PATIENCE_S = 10.0, 600.0
_RETRY_S = 0.05


class TuningStorage:
    """The durable record of one search, which several processes may share.

    The record is a study of Optuna's, so Optuna's own tools read it; the whole `Trial` is in the
    user attribute "trial". What samplers keep with a trial is kept too, so that they go on.
    A trial appears when it is finished, at once and whole. While a trial runs, all that is stored
    of it is that its process has begun one more: the announcement counts for as long as the
    process lives. Of a process of another machine that is not known: its announcement counts for
    ten times the longest trial so far, and ten minutes at least.

    Parameters
    ----------
    path, fingerprint
        As of `autokit.persistence.studies.StoredStudy`, which says what is raised.
    n_objectives : int, default=1

    Attributes
    ----------
    worker : int
        Of the stored study.
    seconds : float
        Wall time of the stored trials, those of joining processes left out.
    """

    def __init__(self, path, fingerprint: dict[str, Any], n_objectives: int = 1):
        self._study = StoredStudy(path, fingerprint, n_objectives)
        self.worker = self._study.worker
        self.seconds = 0.0
        self._longest_s = 0.0
        self._finished: Counter[str] = Counter()
        self._begun = 0
        self._waiting: list[tuple[Trial, Any]] = []
        self._lock = threading.RLock()
        self._read()

    def begin(self, n_trials: int) -> bool:
        """Announce that a trial begins; False if all of `n_trials` are finished or begun.

        Two processes that announce the last one at the same time both see it, take it back and
        try again after a random while: together they never begin more than `n_trials`.
        """
        with self._lock:
            while self._n_begun() < n_trials:
                self._announce(1)
                if self._n_begun() <= n_trials:
                    return True
                self._announce(-1)
                time.sleep(random.Random().uniform(0, _RETRY_S))
            return False

    def has_room(self, n_trials: int) -> bool:
        """Whether fewer than `n_trials` are finished or begun."""
        with self._lock:
            return self._n_begun() < n_trials

    def give_up(self) -> None:
        """Take back that a trial has begun."""
        with self._lock:
            self._announce(-1)

    def write(self, trial: Trial, frozen: Any) -> None:
        """Put a finished trial on disk before returning.

        Parameters
        ----------
        trial : Trial
        frozen : optuna.trial.FrozenTrial
            The same in the study of the search.

        Raises
        ------
        OSError
            The storage cannot be written, for example because the disk is full.
        """
        frozen = copy.copy(frozen)
        frozen.user_attrs = {_TRIAL: trial.to_json(), _BY: self._study.name}
        with self._lock:
            self._study.add(frozen)
            self._finished[self._study.name] += 1
            # one that was not announced has begun all the same
            self._begun = max(self._begun, self._finished[self._study.name])

    def strangers(self) -> list[tuple[Trial, Any]]:
        """Stored trials that this process has not seen yet, as Trial and optuna FrozenTrial.

        On first asking all that there were; later those that others have finished since.
        """
        with self._lock:
            self._read()
            found, self._waiting = self._waiting, []
        return found

    def n_running_elsewhere(self, here: bool = False) -> int:
        """Trials that other processes have begun, and not finished, and still work on.

        Parameters
        ----------
        here : bool, default=False
            Only processes of this machine, of which it is certain that they live.
        """
        with self._lock:
            cards = self._study.cards()
            self._read()
            return sum(
                max(0, card.get("begun", 0) - self._finished[name])
                for name, card in cards.items()
                if name != self._study.name
                and self._is_at_work(card)
                and (is_here(card) or not here)
            )

    def close(self) -> None:
        """Take leave of the others that work on this search."""
        self._study.close()

    def _announce(self, change: int) -> None:
        self._begun += change
        self._study.tell(begun=self._begun, told=time.time())

    def _n_begun(self) -> int:
        """Trials that are finished, or that somebody who lives has begun."""
        # cards first: a trial that is finished in between is then counted as begun, not missed
        cards = self._study.cards()
        self._read()
        total = self._begun + sum(self._finished.values()) - self._finished[self._study.name]
        for name, card in cards.items():
            if name != self._study.name and self._is_at_work(card):
                total += max(0, card.get("begun", 0) - self._finished[name])
        return total

    def _is_at_work(self, card: dict[str, Any]) -> bool:
        return is_at_work(card, max(_LEAST_PATIENCE_S, _PATIENCE * self._longest_s))

    def _read(self) -> None:
        for frozen in self._study.unseen():
            if _TRIAL not in frozen.user_attrs:
                continue
            trial = Trial.from_json(frozen.user_attrs[_TRIAL])
            frozen = copy.copy(frozen)
            self._finished[frozen.user_attrs.get(_BY, "")] += 1
            frozen.user_attrs = {}  # the trial itself is beside it
            self._waiting.append((trial, frozen))
            self._longest_s = max(self._longest_s, trial.seconds)
            if trial.worker == 0:
                self.seconds += trial.seconds
