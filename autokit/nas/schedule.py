"""How many epochs a trial may take: all of them, or as many as it earns on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from autokit.nas.protocols import Evaluation

Rule = Callable[[int, float], bool]


class Schedule(Protocol):
    """Decides on epochs from what the finished trials have shown."""

    epochs: int

    def keep_on(self, told: Sequence[Evaluation], number: int) -> Rule | None:
        """Return the rung rule of trial `number`, ``(epochs_done, score) -> bool``, or None."""


@dataclass(frozen=True)
class FullTraining:
    """Every trial takes all epochs.

    Parameters
    ----------
    epochs : int
    """

    epochs: int

    def keep_on(self, told, number=0):
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
        return _rungs(self.epochs, self.eta, self.min_epochs)

    def keep_on(self, told, number=0):
        """The rule among the trials told so far."""
        return _rule(self.rungs, self.eta, told)


@dataclass(frozen=True)
class Hyperband(SuccessiveHalving):
    """Successive halving in brackets, from many trials on low rungs to few that all finish.

    ::

        rungs            = r_1 < ... < r_k, as in successive halving
        bracket s = k..0 = n_s trials, judged on the s highest rungs only
        n_s              = ceil((k + 1) / (s + 1) * eta^s)

    Which of two candidates is better may not show at the lowest rung. So every bracket gets about
    as many epochs as the others, and the last one trusts no rung at all. A trial is compared with
    those of its own bracket; after the last bracket the first one goes on.

    Parameters
    ----------
    epochs, eta, min_epochs
        See `SuccessiveHalving`.

    References
    ----------
    Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar, "Hyperband: A Novel Bandit-Based Approach to
    Hyperparameter Optimization", JMLR 18, 2018, algorithm 1. We depart from it in that brackets
    are filled by the search's strategy, not at random, and halve asynchronously, see
    `SuccessiveHalving`.

    Examples
    --------
    >>> [Hyperband(18).bracket(number) for number in range(18)]
    [2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 0, 0, 0, 2]
    """

    def bracket(self, number: int) -> int:
        """On how many rungs a trial is judged, by its number."""
        most = len(self.rungs)
        sizes = {s: -(-(most + 1) * self.eta**s // (s + 1)) for s in range(most, -1, -1)}
        place = number % sum(sizes.values())
        for bracket, size in sizes.items():
            if place < size:
                return bracket
            place -= size
        raise AssertionError("a place is always in some bracket")

    def keep_on(self, told, number=0):
        """The rule of the trial's bracket among the trials of that bracket told so far."""
        bracket = self.bracket(number)
        rungs = self.rungs[len(self.rungs) - bracket :]
        if not rungs:
            return None
        return _rule(rungs, self.eta, [e for e in told if self.bracket(e.number) == bracket])


def _rungs(last: int, eta: int, min_epochs: int) -> tuple[int, ...]:
    rungs = set()
    epochs = last / eta
    while round(epochs) >= min_epochs and len(rungs) < 64:
        rungs.add(round(epochs))
        epochs /= eta
    return tuple(sorted(rungs - {last}))


def _rule(rungs: Sequence[int], eta: int, told: Sequence[Evaluation]) -> Rule:
    """Keep on if on a rung the score is among the best of those who stood there."""
    reached = {rung: [] for rung in rungs}
    for evaluation in told:
        for epochs, score in evaluation.rungs:
            if epochs in reached:
                reached[epochs].append(score)

    def keep_on(epochs_done: int, score: float) -> bool:
        if epochs_done not in reached:
            return True
        scores = sorted([*reached[epochs_done], score], reverse=True)
        return score >= scores[max(1, len(scores) // eta) - 1]

    return keep_on


SCHEDULES = {"full": FullTraining, "halving": SuccessiveHalving, "hyperband": Hyperband}
