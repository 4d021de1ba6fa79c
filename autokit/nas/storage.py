"""A search on disk: one finished evaluation is one finished trial of an Optuna study."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from autokit.nas.architecture import to_json
from autokit.nas.protocols import Evaluation
from autokit.persistence.studies import StoredStudy, check_storage, stored_fingerprint

__all__ = ["SearchStorage", "check_storage", "stored_fingerprint"]


class SearchStorage:
    """The durable record of one search, which several processes may share.

    The record is a study of Optuna's, so Optuna's own tools read it: values are scores,
    intermediate values are the rungs, and the whole evaluation is in the user attribute
    "evaluation". A trial appears when it is finished, at once and whole: in a file as one line
    that is synchronised to the disk (a line that a crash tore is cut off on opening), in a
    database as one transaction. A process that dies leaves nothing behind that others wait for.

    Parameters
    ----------
    path, fingerprint
        As of `autokit.persistence.studies.StoredStudy`, which says what is raised.

    Attributes
    ----------
    evaluations : list of Evaluation
        What was found on opening, in the order of finishing; `Evaluation.architecture` is in JSON
        form.
    worker : int
        Of the stored study.
    seconds : float
        Wall time of the stored trials, those of joining processes left out.
    """

    def __init__(self, path, fingerprint: dict[str, Any]):
        self._stored = StoredStudy(path, fingerprint)
        self.worker = self._stored.worker
        self.seconds = 0.0
        self._waiting = self._unseen()
        self.evaluations = list(self._waiting.values())

    def write(self, evaluation: Evaluation) -> None:
        """Put a finished evaluation on disk before returning.

        Raises
        ------
        OSError
            The storage cannot be written, for example because the disk is full.
        """
        from optuna.trial import TrialState, create_trial

        state = TrialState.COMPLETE if evaluation.score is not None else TrialState.FAIL
        if evaluation.status == "pruned":
            state = TrialState.PRUNED
        trial = create_trial(
            state=state,
            value=evaluation.score,
            intermediate_values=dict(evaluation.rungs),
            user_attrs={"evaluation": _to_json(evaluation), "worker": self.worker},
        )
        self._stored.add(trial)

    def recall(self, architecture: Any) -> Evaluation | None:
        """The stored evaluation of an architecture that this process has not seen yet."""
        found = self._waiting.pop(_key_of(to_json(architecture)), None)
        return None if found is None else dataclasses.replace(found, architecture=architecture)

    def strangers(self) -> list[Evaluation]:
        """All stored evaluations that this process has not seen yet, architectures in JSON form.

        What other processes have finished since, and what this search would not propose itself.
        """
        self._waiting |= self._unseen()
        found, self._waiting = list(self._waiting.values()), {}
        return found

    @property
    def n_waiting(self) -> int:
        """Evaluations known to be stored and not seen yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Take leave of the others that work on this search."""
        self._stored.close()

    def _unseen(self) -> dict[str, Evaluation]:
        found: dict[str, Evaluation] = {}
        for trial in self._stored.unseen():
            if "evaluation" not in trial.user_attrs:
                continue
            evaluation = _from_json(trial.user_attrs["evaluation"])
            found[_key_of(evaluation.architecture)] = evaluation
            if trial.user_attrs.get("worker", 0) == 0:
                self.seconds += evaluation.seconds
        return found


def _key_of(architecture) -> str:
    return json.dumps(architecture, sort_keys=True)


def _to_json(evaluation: Evaluation) -> dict:
    values = {f.name: getattr(evaluation, f.name) for f in dataclasses.fields(evaluation)}
    return values | {"architecture": to_json(evaluation.architecture)}


def _from_json(values: dict) -> Evaluation:
    known = {f.name for f in dataclasses.fields(Evaluation)}
    values = {name: value for name, value in values.items() if name in known}
    values["rungs"] = tuple((int(epochs), score) for epochs, score in values["rungs"])
    values["values"] = tuple(values.get("values", ()))
    return Evaluation(**values)
