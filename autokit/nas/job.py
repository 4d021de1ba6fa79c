"""One search from beginning to end: open the storage, search, train the winner, keep the time."""

from __future__ import annotations

import contextlib
import inspect
import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autokit.nas import search
from autokit.nas.evaluators import TrainEvaluator
from autokit.nas.evaluators.train import TrainedModel
from autokit.nas.hardware.certificates import certify, first_certified, nothing_feasible
from autokit.nas.progress import SearchProgress
from autokit.nas.protocols import Budget, Evaluation
from autokit.nas.result import SearchResult, best_of
from autokit.nas.schedule import Schedule
from autokit.nas.storage import SearchStorage, stored_fingerprint
from autokit.persistence.hashing import sha256_of
from autokit.training import Batch, TrainingDiverged

logger = logging.getLogger(__name__)

STRATEGY_STREAM, REFIT_STREAM, WORKER_STREAM = 0, 2, 3
REFIT_MARGIN = 1.15  # trials of equal epochs differ by some 10 % on a busy machine
WORTHWHILE_SHARE = 0.5  # of the epochs, below which a refit would lose more than it gains
RECENT_TRIALS = 12  # so many programs are surely still compiled, see `training.programs`
UNTRAINED_REFIT_SHARE = 0.5
TINY_BUDGET_S = 5.0  # tracing a network of usual size takes some three seconds


@dataclass
class SearchJob:
    """What is searched, with what, and for how long.

    Parameters
    ----------
    space : SearchSpace
    method : callable
        ``(space, rng) -> SearchStrategy``, or a one-shot method,
        ``(space, task, *, epochs, seed, deadline, progress, trainer) -> SearchResult``.
    evaluator : Evaluator
    trainer : TrainEvaluator
        Trains the winner; the evaluator itself where that is a `TrainEvaluator`.
    data : Batch
        All rows, for the refit.
    schedule : Schedule
    started : float
        ``time.monotonic()`` second from which the time budget counts.
    time_budget_s : float or None
    max_trials : int or None
    refit : bool
    n_jobs : int
    seed : int
    storage : SearchStorage or None
    verbose : int
    hardware : HardwareAware or None
        Limits that the final network must keep; the evaluator itself.
    start : tuple of architectures
        Evaluated after the first, before the strategy is asked.
    """

    space: Any
    method: Any
    evaluator: Any
    trainer: TrainEvaluator
    data: Batch
    schedule: Schedule
    started: float
    time_budget_s: float | None = None
    max_trials: int | None = None
    refit: bool = True
    n_jobs: int = 1
    seed: int = 0
    storage: SearchStorage | None = None
    verbose: int = 0
    hardware: Any = None
    start: tuple = ()
    deadline: float | None = field(init=False, default=None)

    def run(self) -> tuple[SearchResult, TrainedModel]:
        """Search, then train the winner; see `search.run` for what is raised."""
        if self.time_budget_s is not None:
            # what an earlier run of the same process has used up; one that joins has its own time
            resumes = self.storage is not None and self.storage.worker == 0
            spent = self.storage.seconds / self.n_jobs if resumes else 0.0
            self.deadline = self.started + self.time_budget_s - spent
        with self._progress() as progress, self._leave():
            try:
                result = (self._one_shot if is_one_shot(self.method) else self._trials)(progress)
            except search.SearchFailed as error:
                if any(e.violation > 0 for e in error.evaluations):
                    raise nothing_feasible(error.evaluations, self.hardware.constraints) from None
                raise
            if self.hardware is not None:
                result = replace(result, objectives=self.hardware.objectives)
            if self.deadline is not None and self.storage is not None and self.storage.evaluations:
                # what is resumed has to compile anew: the winner may use all of this call's time
                self.deadline = self.started + self.time_budget_s
            if progress is not None:
                progress.refit_started()
            result, trained = self.winner(result)
            if progress is not None:
                progress.refit_finished()
        return result, trained

    def _trials(self, progress) -> SearchResult:
        worker = 0 if self.storage is None else self.storage.worker
        seed = search.derived_seed(self.seed, WORKER_STREAM, worker) if worker else self.seed
        rng = np.random.default_rng(search.derived_seed(seed, STRATEGY_STREAM))
        return search.run(
            self.space,
            self.method(self.space, rng),
            self.evaluator,
            schedule=self.schedule,
            max_trials=self.max_trials,
            deadline=self.deadline,
            reserve=self.reserve,
            hopeless=self.hopeless if self.refit else None,
            storage=self.storage,
            n_jobs=self.n_jobs,
            progress=progress,
            seed=seed,
            start=() if worker else self._start(),
        )

    def _one_shot(self, progress) -> SearchResult:
        return self.method(
            self.space,
            self.trainer.task,
            epochs=self.schedule.epochs,
            seed=self.seed,
            deadline=self.deadline,  # what it trains from scratch stays, if no time is left
            progress=progress,
            trainer=self.trainer,
        )

    def _start(self) -> tuple:
        """What is evaluated first: the default, or the smallest if there is hardly any time."""
        is_tiny = self.time_budget_s is not None and self.time_budget_s < TINY_BUDGET_S
        first = getattr(self.space, "smallest" if is_tiny else "default", None)
        return (*(() if first is None else (first,)), *self.start)

    def reserve(self, evaluations) -> float:
        """Seconds that the refit of the best so far would take."""
        if not self.refit:
            return 0.0
        best = best_of(evaluations)
        if best.epochs == 0:  # judged without training: how long that takes is not known
            return UNTRAINED_REFIT_SHARE * (self.time_budget_s or 0.0)
        is_compiled = len(evaluations) - best.number < RECENT_TRIALS
        setup = 0.0 if is_compiled else best.setup_seconds
        return REFIT_MARGIN * (setup + self.schedule.epochs * self._epoch_seconds(best))

    def _epoch_seconds(self, evaluation: Evaluation) -> float:
        """Seconds of an epoch of the refit, by the speed of the architecture's own trial."""
        training = evaluation.seconds - evaluation.setup_seconds
        return training / max(1, evaluation.epochs) * self._growth

    def hopeless(self, clock: list[float]) -> bool:
        """Whether a running trial leaves no time to refit what it trains.

        Parameters
        ----------
        clock : list of float
            ``time.monotonic()`` seconds: its beginning, then the end of each epoch.
        """
        if len(clock) < 3:  # the first epoch also traces
            return False
        per_epoch = (clock[-1] - clock[1]) / (len(clock) - 2)
        to_do = self.schedule.epochs - (len(clock) - 1)
        refit = self.schedule.epochs * per_epoch * self._growth
        return clock[-1] + to_do * per_epoch + REFIT_MARGIN * refit > self.deadline

    @property
    def _growth(self) -> float:
        """Rows of the refit by rows of a trial."""
        return len(self.data) / max(1, len(self.trainer.task.train))

    def winner(self, result: SearchResult) -> tuple[SearchResult, TrainedModel]:
        """The best architecture trained on all rows, or as its trial left it.

        With limits, the first of the ranking that keeps them when its own network is measured;
        those that do not are marked in the result.
        """
        if self.hardware is None or not self.hardware.constraints.needs:
            return result, self._trained(result.best, result.stopped)
        missed: dict[int, float] = {}

        def certificate_of(evaluation, network):
            found = certify(
                self.hardware.deployed(network),
                self.hardware.constraints,
                architecture=evaluation.architecture,
            )
            if not found.holds:
                missed[evaluation.number] = found.violation
            return found

        def train(evaluation):
            trained.append(self._trained(evaluation, result.stopped))
            return trained[-1].model

        trained: list[TrainedModel] = []
        best, _, certificate = first_certified(
            result.ranking,
            lambda evaluation: self.trainer.build(evaluation.architecture, evaluation.seed),
            train,
            certificate_of,
        )
        costs = {k: v for k, v in certificate.costs._asdict().items() if v is not None}
        evaluations = tuple(
            replace(e, **costs)
            if e.number == best.number
            else replace(e, violation=missed.get(e.number, e.violation))
            for e in result.evaluations
        )
        return replace(result, evaluations=evaluations), trained[-1]

    def _trained(self, best: Evaluation, stopped: str) -> TrainedModel:
        """An architecture trained on all rows, or as its trial left it."""
        kept = best.architecture in self.trainer.kept
        epochs = self._refit_epochs(best, kept)
        if self.refit and stopped != "interrupted" and epochs > 0:
            try:
                refitted = self._refit(best, epochs)
                if not kept or refitted.result.stopped != "deadline":
                    return refitted
            except (TrainingDiverged, KeyboardInterrupt) as error:
                if not kept:
                    raise
                logger.warning("the refit ended early (%r): the trial's own weights stay", error)
        restored = self.trainer.restore(best.architecture, best.seed)
        return restored if restored is not None else self._repeat(best)

    def _refit_epochs(self, best, kept: bool) -> int:
        """All epochs, or as many as there is time for, or 0 where that is too few to be worth it.

        With fewer epochs the learning rate falls faster, so that the training is a whole one.
        """
        epochs = self.schedule.epochs
        if self.deadline is None or not kept:
            return epochs
        left = (self.deadline - time.monotonic()) / REFIT_MARGIN
        affordable = int(left / max(1e-9, self._epoch_seconds(best)))
        return 0 if affordable < WORTHWHILE_SHARE * epochs else min(epochs, affordable)

    def _refit(self, best, epochs: int) -> TrainedModel:
        seed = search.derived_seed(self.seed, REFIT_STREAM)
        budget = Budget(epochs, self.deadline, seed=seed)
        return self.trainer.train(best.architecture, self.data, None, budget)

    def _repeat(self, best) -> TrainedModel:
        """Train once more as in a trial whose weights are gone: the same seed, the same epochs."""
        budget = Budget(self.schedule.epochs, self.deadline, seed=best.seed)
        task = self.trainer.task
        return self.trainer.train(
            best.architecture,
            task.train,
            task.validation,
            budget,
            on_epoch=lambda epoch, logs: epoch >= best.epochs > 0,
        )

    @contextlib.contextmanager
    def _leave(self):
        try:
            yield
        finally:
            if self.storage is not None:
                self.storage.close()

    def _progress(self):
        if not self.verbose:
            return contextlib.nullcontext()
        return SearchProgress(self.max_trials, self.deadline)


def is_one_shot(method) -> bool:
    """Whether a callable is a one-shot method, which takes a task, and not a strategy's maker."""
    return "task" in inspect.signature(method).parameters


def fingerprint(data: Batch, parameters: dict[str, Any]) -> dict[str, Any]:
    """What makes a search the same search: hashes of its rows, and its parameters."""
    parts = {"X": data.x, "y": data.y, "sample_weight": data.weight}
    return {name: sha256_of(part) for name, part in parts.items()} | parameters


def stored_seed(path) -> int | None:
    """The seed of the search in a journal, None if there is none."""
    found = stored_fingerprint(path)
    return None if found is None else found.get("random_state")
