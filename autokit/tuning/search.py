"""The loop of a search: ask, evaluate, tell, keep."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any

from sklearn import config_context, get_config

from autokit.persistence.studies import STUDY, quiet_optuna
from autokit.training import more_programs
from autokit.tuning.evaluation import Evaluator, OutOfTime, Stop
from autokit.tuning.pruning import PruningJudge, pairs_folds
from autokit.tuning.samplers import GIVEN_UP, Exhausted, SamplerMaker, Wait
from autokit.tuning.space import Space
from autokit.tuning.trial import COMPLETE, FAILED, PRUNED, Trial

logger = logging.getLogger(__name__)

KEPT_PROGRAMS = 12  # beyond those that are kept anyway, for architectures that come back
# how often a process looks whether another has finished the last trials, at first and in the end
POLL_S, LONGEST_POLL_S = 0.2, 1.0
REFIT_MARGIN = 1.15  # trials of equal epochs differ by some 10 % on a busy machine


_LATER = object()


class SearchFailed(ValueError):
    """No trial of a search gave a score."""


@dataclass
class Search:
    """A search over a space.

    Parameters
    ----------
    space : Space
    evaluator : Evaluator
    tuner : callable
        ``number -> optuna sampler``, see `autokit.tuning.samplers.make_tuner`.
    objectives : tuple of str
        Metrics that are maximised; pruning needs a single one.
    n_trials : int or None
    started : float
        ``time.monotonic()`` second from which the budget counts.
    time_budget_s : float or None
    pruner : optuna pruner or None
    horizon : int
        Most epochs of a fit.
    highest : float
        The most that the score can be.
    refit_share : float
        Time of the refit by time of one fold's fit; 0 without a refit.
    n_jobs : int
    storage : TuningStorage or None
    progress : object or None
        With ``trial_started(number, values)`` and ``trial_finished(trial)``.
    """

    space: Space
    evaluator: Evaluator
    tuner: SamplerMaker
    objectives: tuple[str, ...] = ("score",)
    n_trials: int | None = 50
    started: float = 0.0
    time_budget_s: float | None = None
    pruner: Any = None
    horizon: int = 1
    highest: float = math.inf
    refit_share: float = 0.0
    n_jobs: int = 1
    storage: Any = None
    progress: Any = None
    trials: list[Trial] = field(default_factory=list)
    stopped: str = "n_trials"
    _asked: int = 0
    _is_over: bool = False
    _halt: Any = field(default_factory=threading.Event, repr=False)
    _lock: Any = field(default_factory=threading.RLock, repr=False)

    def run(self) -> list[Trial]:
        """Search; the trials in the order of finishing.

        Raises
        ------
        SearchFailed
            No trial gave a score; tells the first cause.
        Exception
            What a trial raised, with ``error_score="raise"``.
        """
        import optuna

        with quiet_optuna(), more_programs(KEPT_PROGRAMS):
            self.study = optuna.create_study(
                study_name=STUDY,  # the brackets of a Hyperband pruner are drawn from it
                directions=["maximize"] * len(self.objectives),
                pruner=self.pruner or optuna.pruners.NopPruner(),
                sampler=optuna.samplers.RandomSampler(seed=0),
            )
            # samplers of finite spaces call it after the last point
            self.study.stop = lambda: self._stop("exhausted")
            self._hear_of_others(first=True)
            try:
                if self.n_jobs == 1:
                    while self._one():
                        pass
                else:
                    self._side_by_side()
            except KeyboardInterrupt:
                if not any(t.status == COMPLETE for t in self.trials):
                    raise
                self.stopped = "interrupted"
                logger.warning("the search was interrupted: the best trial so far is taken")
        if not any(t.mean(self.objectives[0]) is not None for t in self.trials):
            raise self._failure() from self.evaluator.first_error
        return self.trials

    def _side_by_side(self) -> None:
        settings = get_config()  # scikit-learn's, a thread has its own

        def one() -> bool:
            with config_context(**settings):
                return self._one()

        def submit(n: int) -> set:
            return {pool.submit(copy_context().run, one) for _ in range(n)}

        with ThreadPoolExecutor(self.n_jobs) as pool:
            try:
                running = submit(self.n_jobs)
                while running:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    # raises what a trial raised
                    running |= submit(sum(future.result() for future in done))
            except BaseException:
                self._halt.set()  # what runs beside it ends at the next epoch or fold
                raise

    def _one(self) -> bool:
        """Run one trial; False when the search is over."""
        pause = POLL_S
        while True:
            with self._lock:
                asked = self._ask()
            if asked is not _LATER:
                break
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_POLL_S)
        if asked is None:
            return False
        handle, values = asked
        judge = self._judge(handle)
        has_result = any(t.status == COMPLETE for t in self.trials)
        try:
            trial = self.evaluator.evaluate(
                values,
                self.space.parameters(values),
                judge,
                None if self.time_budget_s is None else self._deadline,
                must_finish=not has_result,
                halt=self._halt,
            )
        except BaseException as reason:
            with self._lock:
                self._asked -= 1
                self._withdraw(handle)
                if isinstance(reason, OutOfTime):
                    self.stopped = "time_budget_s"
            if isinstance(reason, Stop):
                return False
            raise
        if judge is not None:
            trial = replace(trial, steps=tuple(judge.steps))
        with self._lock:
            self._tell(handle, trial)
        return True

    def _ask(self):
        self._hear_of_others()
        if self._is_over or self._halt.is_set():
            return None
        has_time = time.monotonic() + self._shortest() <= self._deadline()
        if self.trials and not has_time:
            return self._stop("time_budget_s")
        if not self._begin():
            # what others are at work on is waited for: all then know the whole search, and if
            # one of them dies, its trial is done here
            is_awaited = self.storage is not None and self.storage.n_running_elsewhere(here=True)
            if is_awaited and not has_time:
                return self._stop("time_budget_s")
            # two that announced the last trial at once have both taken it back, and try again
            if is_awaited or (self.storage is not None and self.storage.has_room(self.n_trials)):
                return _LATER
            self._hear_of_others()  # of what was finished since the first look
            return None
        handle = None
        try:
            sampler = self.tuner(self._asked)
            if hasattr(sampler, "is_exhausted") and sampler.is_exhausted(self.study):
                raise Exhausted
            self.study.sampler = sampler
            handle = self.study.ask()
            values = self.space.suggest(handle)
        except Wait:
            self._withdraw(handle)
            return _LATER
        except Exhausted:
            self._withdraw(handle)
            return self._stop("exhausted")
        except BaseException:
            self._withdraw(handle)
            raise
        self._asked += 1
        if self.progress is not None:
            self.progress.trial_started(self._asked - 1, values)
        return handle, values

    def _begin(self) -> bool:
        """Whether a trial is left; other processes are told that it is being run."""
        if self.n_trials is None:
            return True
        if self.storage is None:
            return self._asked < self.n_trials
        return self.storage.begin(self.n_trials)

    def _withdraw(self, handle) -> None:
        """Undo that a trial was begun."""
        import optuna

        if handle is not None:
            handle.set_user_attr(GIVEN_UP, True)
            self.study.tell(handle, state=optuna.trial.TrialState.FAIL)
        if self.n_trials is not None and self.storage is not None:
            self.storage.give_up()

    def _stop(self, why: str) -> None:
        self.stopped, self._is_over = why, True

    def _tell(self, handle, trial: Trial) -> None:
        import optuna

        states = optuna.trial.TrialState
        scores = [trial.mean(metric) for metric in self.objectives]
        if trial.status == PRUNED:
            self.study.tell(handle, state=states.PRUNED)
        elif any(score is None for score in scores):
            trial = replace(trial, status=FAILED, error=trial.error or "the score is not finite")
            self.study.tell(handle, state=states.FAIL)
        else:
            self.study.tell(handle, scores)
        trial = replace(trial, number=len(self.trials))
        if trial.error is not None:
            logger.warning("trial %d failed: %s", trial.number, trial.error)
        if self.storage is not None:
            frozen = self.study.get_trials(deepcopy=False)[handle.number]
            trial = replace(trial, worker=self.storage.worker)
            self.storage.write(trial, frozen)
        self._keep(trial)

    def _keep(self, trial: Trial) -> None:
        self.trials.append(trial)
        if self.progress is not None:
            self.progress.trial_finished(trial)

    def _hear_of_others(self, first: bool = False) -> None:
        """Take in what earlier runs and other processes have finished."""
        if self.storage is None:
            return
        for trial, frozen in self.storage.strangers():
            self.study.add_trial(frozen)
            self._asked += 1
            self._keep(replace(trial, number=len(self.trials)))

    def _judge(self, handle) -> PruningJudge | None:
        if self.pruner is None or len(self.objectives) > 1:
            return None
        return PruningJudge(
            handle,
            self.horizon,
            len(self.evaluator.folds),
            pairs_folds(self.pruner),
            self._best,
            self.highest,
        )

    def _best(self) -> float | None:
        means = [trial.mean(self.objectives[0]) for trial in self.trials]
        return max((mean for mean in means if mean is not None), default=None)

    def _deadline(self, fit_times: Sequence[float] = ()) -> float:
        """When a trial must end, so that the best can still be fitted to all rows.

        Parameters
        ----------
        fit_times : sequence of float
            Of the folds of the trial, which may itself become the best.
        """
        if self.time_budget_s is None:
            return math.inf
        refit = REFIT_MARGIN * self.refit_share * max(fit_times, default=0.0)
        return self.started + self.time_budget_s - max(refit, self._reserve())

    def _reserve(self) -> float:
        """Seconds for the refit of the best so far."""
        best = self._best()
        if not self.refit_share:
            return 0.0
        if best is None:  # nothing is known yet: the refit is one fit more than the folds
            return self.time_budget_s / (len(self.evaluator.folds) + 1)
        trial = next(t for t in self.trials if t.mean(self.objectives[0]) == best)
        return REFIT_MARGIN * self.refit_share * max(trial.fit_times)

    def _shortest(self) -> float:
        """Seconds in which no trial was ever finished."""
        return min((t.seconds for t in self.trials if t.status == COMPLETE), default=0.0)

    def _failure(self) -> SearchFailed:
        failed = [t for t in self.trials if t.status == FAILED]
        if not failed:
            return SearchFailed(
                "No trial finished: raise 'time_budget_s' or 'n_trials', or set pruner=None."
            )
        first = failed[0]
        return SearchFailed(
            f"All {len(failed)} trials failed. The first, with {first.values}, raised "
            f"{first.error}. Set error_score='raise' to see where."
        )
