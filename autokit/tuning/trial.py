"""One trial of a search, as plain values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


@dataclass(frozen=True)
class Trial:
    """What one trial of a search has shown.

    Attributes
    ----------
    number : int
        In the order of the search, from 0.
    values : dict of str to value
        By entry of the space; see `autokit.tuning.space`.
    status : {"complete", "pruned", "failed"}
    scores : tuple of dict of str to float
        Test scores by metric, of each fold that was finished.
    train_scores : tuple of dict of str to float
        The same on the training rows, if they were asked for.
    fit_times, score_times : tuple of float
        Seconds, of the same folds.
    epochs : int
        Epochs trained, over all folds; 0 for estimators of other packages.
    steps : tuple of (int, float)
        What pruning has seen: the step, and the mean score so far.
    error : str or None
        The first error of a fold that failed.
    seconds : float
        Wall time of the whole trial.
    worker : int
        The process that ran it; 0 is the first.
    """

    number: int
    values: dict[str, Any]
    status: str = COMPLETE
    scores: tuple[dict[str, float], ...] = ()
    train_scores: tuple[dict[str, float], ...] = ()
    fit_times: tuple[float, ...] = ()
    score_times: tuple[float, ...] = ()
    epochs: int = 0
    steps: tuple[tuple[int, float], ...] = ()
    error: str | None = None
    seconds: float = 0.0
    worker: int = 0

    def mean(self, metric: str) -> float | None:
        """Mean test score over the folds of a complete trial, None where there is none."""
        if self.status != COMPLETE or not self.scores:
            return None
        mean = math.fsum(scores[metric] for scores in self.scores) / len(self.scores)
        return mean if math.isfinite(mean) else None

    def to_json(self) -> dict[str, Any]:
        """Plain values; JSON itself has no NaN, which becomes None."""
        state = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name in ("scores", "train_scores"):
            state[name] = [{k: _finite(v) for k, v in fold.items()} for fold in state[name]]
        return state

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> Trial:
        """The trial that gave these values."""
        state = {f.name: state[f.name] for f in dataclasses.fields(cls) if f.name in state}
        for name in ("scores", "train_scores"):
            state[name] = tuple(
                {k: math.nan if v is None else v for k, v in fold.items()} for fold in state[name]
            )
        for name in ("fit_times", "score_times"):
            state[name] = tuple(state[name])
        state["steps"] = tuple((int(step), value) for step, value in state["steps"])
        return cls(**state)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
