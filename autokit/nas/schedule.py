"""How many epochs a trial may take: all of them, or as many as it earns on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from autokit.nas.protocols import Evaluation


class Schedule(Protocol):
    """Decides on epochs from what the finished trials have shown."""

    epochs: int

    def keep_on(self, told: Sequence[Evaluation]) -> Callable[[int, float], bool] | None:
        """Return the rung rule of the next trial, ``(epochs_done, score) -> bool``, or None."""


@dataclass(frozen=True)
class FullTraining:
    """Every trial takes all epochs.

    Parameters
    ----------
    epochs : int
    """

    epochs: int

    def keep_on(self, told):
        """No rule."""
        return None


@dataclass(frozen=True)
class SuccessiveHalving:
    """Asynchronous successive halving: few trials reach the higher rungs.

    ::

        rungs   = epochs / eta, epochs / eta^2, ... while at least min_epochs
        at a rung: k = max(1, n // eta) of the n trials that came this far, this one included
        keep on if the score is at least the k-th best of them

    A trial is judged once it stands on a rung and never resumed later, so the first one always
    goes all the way.

    Parameters
    ----------
    epochs : int
        Of a full evaluation.
    eta : int, default=3
        Of so many trials one is promoted.
    min_epochs : int, default=2
        Of the lowest rung.

    References
    ----------
    Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar, "A System for Massively
    Parallel Hyperparameter Tuning", MLSys 2020, algorithm 2. We depart from it in that a trial
    that is not promoted at once ends instead of being paused: nothing of it has to be kept.
    """

    epochs: int
    eta: int = 3
    min_epochs: int = 2

    @property
    def rungs(self) -> tuple[int, ...]:
        """Numbers of epochs after which a trial is judged, lowest first."""
        rungs = set()
        epochs = self.epochs / self.eta
        while round(epochs) >= self.min_epochs and len(rungs) < 64:
            rungs.add(round(epochs))
            epochs /= self.eta
        return tuple(sorted(rungs - {self.epochs}))

    def keep_on(self, told):
        """The rule among the trials told so far."""
        rungs = self.rungs
        reached = {rung: [] for rung in rungs}
        for evaluation in told:
            for epochs, score in evaluation.rungs:
                if epochs in reached:
                    reached[epochs].append(score)

        def keep_on(epochs_done: int, score: float) -> bool:
            if epochs_done not in reached:
                return True
            scores = sorted([*reached[epochs_done], score], reverse=True)
            return score >= scores[max(1, len(scores) // self.eta) - 1]

        return keep_on
