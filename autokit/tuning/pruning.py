"""When a trial ends early: Optuna's pruners over epochs and folds, and folds that cannot win."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any


class PruningJudge:
    """Asks an Optuna pruner, and ends a trial that could not win with perfect folds to come.

    Pruning sees the mean of the finished folds and the fold that runs, at step
    ``fold * horizon + epoch``: the same step means the same folds and epochs in every trial. A
    pruner that pairs folds (Wilcoxon's) sees each finished fold's own score at step ``fold``.

    Parameters
    ----------
    trial : optuna.Trial
    horizon : int
        Most epochs that a fold may take.
    n_folds : int
    by_fold : bool
        Show the pruner finished folds only.
    incumbent : callable
        ``() -> float or None``, the best mean so far.
    highest : float
        The most that a score can be.
    """

    def __init__(self, trial, horizon, n_folds, by_fold, incumbent, highest=math.inf):
        self._trial, self._horizon, self._n_folds = trial, horizon, n_folds
        self._by_fold, self._incumbent, self._highest = by_fold, incumbent, highest
        self._done: list[float] = []
        self.steps: list[tuple[int, float]] = []

    def epoch(self, fold: int, epoch: int, score: float) -> bool:
        """Whether a trial ends that has this score at an epoch of a fold."""
        if self._by_fold or epoch >= self._horizon:  # the fold's end will tell
            return False
        mean = (math.fsum(self._done) + score) / (fold + 1)
        return self._report(fold * self._horizon + epoch, mean)

    def fold(self, scores: Sequence[float]) -> bool:
        """Whether a trial ends that has these scores on its first folds."""
        self._done = list(scores)
        n, best = len(scores), self._incumbent()
        to_come = (self._n_folds - n) * self._highest if n < self._n_folds else 0.0
        if best is not None and (math.fsum(scores) + to_come) / self._n_folds < best:
            return True
        if self._by_fold:
            return self._report(n - 1, scores[-1])
        return self._report(n * self._horizon, math.fsum(scores) / n)

    def _report(self, step: int, value: float) -> bool:
        if not math.isfinite(value):
            return False
        self.steps.append((step, value))
        self._trial.report(value, step)
        return self._trial.should_prune()


def make_pruner(pruner: Any, horizon: int, n_folds: int) -> Any:
    """An Optuna pruner from a name, an instance or None.

    Parameters
    ----------
    pruner : str, optuna.pruners.BasePruner or None
    horizon : int
        Most epochs of a fold.
    n_folds : int
    """
    import optuna

    from autokit.names import by_name

    if pruner is None or isinstance(pruner, optuna.pruners.BasePruner):
        return pruner
    make = by_name("pruner", pruner, PRUNERS, "an optuna pruner or None")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make(horizon, n_folds)


def pairs_folds(pruner: Any) -> bool:
    """Whether a pruner compares fold with fold, and not the mean so far."""
    import optuna

    return isinstance(pruner, optuna.pruners.WilcoxonPruner)


def _median(horizon: int, n_folds: int):
    from optuna.pruners import MedianPruner

    # half of the first fold says nothing yet of those that learn slowly: on digits two searches of
    # five lost their best trial without it (benchmarks/tuning_pruning.py)
    return MedianPruner(n_startup_trials=5, n_warmup_steps=horizon // 2)


def _halving(horizon: int, n_folds: int):
    from optuna.pruners import SuccessiveHalvingPruner

    least = max(1, horizon * n_folds // 27)
    return SuccessiveHalvingPruner(min_resource=least, reduction_factor=3)


def _hyperband(horizon: int, n_folds: int):
    from optuna.pruners import HyperbandPruner

    most = horizon * n_folds
    return HyperbandPruner(min_resource=max(1, most // 27), max_resource=most, reduction_factor=3)


def _wilcoxon(horizon: int, n_folds: int):
    from optuna.pruners import WilcoxonPruner

    return WilcoxonPruner()


PRUNERS: dict[str, Callable[[int, int], Any]] = {
    "halving": _halving,
    "hyperband": _hyperband,
    "median": _median,
    "wilcoxon": _wilcoxon,
}
