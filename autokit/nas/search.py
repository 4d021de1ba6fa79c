"""The search loop: ask, evaluate, write down, tell."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autokit.nas.architecture import from_json
from autokit.nas.protocols import Budget, Evaluation, Evaluator, SearchSpace, SearchStrategy
from autokit.nas.result import SearchResult
from autokit.nas.schedule import Schedule

logger = logging.getLogger(__name__)

REPEATS_UNTIL_EXHAUSTED = 200
FAILURES_UNTIL_GIVEN_UP = 10
TRIAL_STREAM = 1


class SearchFailed(RuntimeError):
    """No trial succeeded.

    Attributes
    ----------
    evaluations : tuple of Evaluation
        What there was.
    """

    evaluations: tuple[Evaluation, ...] = ()


def run(
    space: SearchSpace,
    strategy: SearchStrategy,
    evaluator: Evaluator,
    *,
    schedule: Schedule,
    max_trials: int | None = None,
    deadline: float | None = None,
    reserve: Callable[[Sequence[Evaluation]], float] | None = None,
    hopeless: Callable[[list[float]], bool] | None = None,
    storage: Any = None,
    n_jobs: int = 1,
    progress: Any = None,
    seed: int = 0,
    start: Sequence = (),
) -> SearchResult:
    """Search until trials, time or architectures run out.

    ::

        while there is budget:
            architectures = strategy.ask(n_jobs)
            evaluations   = [evaluator(a) for a in architectures]   # threads if n_jobs > 1
            storage.write(evaluations)
            strategy.tell(evaluations)

    Trials of one round know nothing of each other, so the result is the same however long each
    takes. An architecture that was evaluated before is answered from memory and is no trial.
    Evaluations found in the storage are taken instead of evaluating again; the strategy is asked
    all the same, so a resumed search goes on as if it had never stopped. Where several processes
    share a storage, each tells its strategy what the others have finished before it asks anew.

    Parameters
    ----------
    space : SearchSpace
    strategy : SearchStrategy
    evaluator : Evaluator
    schedule : Schedule
        Epochs of a trial and the rung rule.
    max_trials : int or None, default=None
        Evaluations at most, failed ones included; None is no limit.
    deadline : float or None, default=None
        ``time.monotonic()`` second at which everything must be over.
    reserve : callable or None, default=None
        From the evaluations so far to the seconds to be left before `deadline`.
    hopeless : callable or None, default=None
        Asked after each epoch of a trial, while there is a `deadline` and an incumbent, with the
        seconds at which the trial began and its epochs ended; True ends it as "timeout".
    storage : SearchStorage or None, default=None
        Where finished evaluations are written, and read from to resume. Processes that share it
        may together exceed `max_trials` by what they were at when it was reached.
    n_jobs : int, default=1
        Trials of one round, in threads.
    progress : SearchProgress or None, default=None
        Is shown what happens.
    seed : int, default=0
        Trial number ``i`` gets its own seed made of this one and ``i``.
    start : sequence of architectures, default=()
        Evaluated before the strategy is asked.

    Returns
    -------
    SearchResult

    Raises
    ------
    SearchFailed
        No trial succeeded: the message tells the first failure.
    """
    search = _Search(
        space, strategy, evaluator, schedule, max_trials, deadline, reserve, hopeless, storage,
        n_jobs, progress, seed, list(start),
    )  # fmt: skip
    try:
        reason = search.loop()
    except KeyboardInterrupt:
        if not search.has_success:
            raise
        reason = "interrupted"
    if not search.has_success:
        raise search.failure()
    return SearchResult(tuple(search.told), reason)


@dataclass
class _Search:
    space: Any
    strategy: Any
    evaluator: Any
    schedule: Any
    max_trials: int | None
    deadline: float | None
    reserve: Any
    hopeless: Any
    storage: Any
    n_jobs: int
    progress: Any
    seed: int
    queue: list
    told: list[Evaluation] = field(default_factory=list)
    known: dict = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        # alone with an unfinished search, the strategy proposes again what is stored
        self.repeating = self.storage is not None and self.storage.worker == 0

    @property
    def has_success(self) -> bool:
        return any(e.score is not None for e in self.told)

    def loop(self) -> str:
        repeats = 0
        self.adopt()
        while (reason := self.why_stop()) is None:
            proposals = self.propose()
            new = list(dict.fromkeys(a for a in proposals if a not in self.known))
            self.evaluate(new)
            self.strategy.tell([self.known[a] for a in proposals])
            repeats = 0 if new else repeats + len(proposals)
            if repeats >= REPEATS_UNTIL_EXHAUSTED:
                return "exhausted"
            self.adopt()
        return reason

    def adopt(self) -> None:
        """Take over, and tell the strategy, what others have written."""
        if self.storage is None or (self.repeating and self.storage.n_waiting):
            return
        self.repeating = False
        strangers = []
        for stored in self.storage.strangers():
            architecture = from_json(stored.architecture, self.architecture_type)
            if architecture not in self.known:
                strangers.append(replace(stored, architecture=architecture, number=len(self.told)))
                self.remember(strangers[-1])
                self.show("trial_finished", strangers[-1])
        if strangers:
            self.strategy.tell(strangers)

    @property
    def architecture_type(self) -> type:
        return type(self.space.sample(np.random.default_rng(0)))

    def remember(self, evaluation: Evaluation) -> None:
        self.told.append(evaluation)
        self.known[evaluation.architecture] = evaluation

    def why_stop(self) -> str | None:
        n_told = len(self.told)
        if self.max_trials is not None and n_told >= self.max_trials:
            return "max_trials"
        n_failed = sum(e.status == "failed" for e in self.told)
        if n_failed >= FAILURES_UNTIL_GIVEN_UP and not self.has_success:
            return "failures"
        is_repeating = self.repeating and self.storage.n_waiting > 0
        if self.deadline is None or n_told == 0 or is_repeating:
            return None
        left = self.trial_deadline() - time.monotonic()
        return "time_budget" if left < self.worthwhile() else None

    def worthwhile(self) -> float:
        """Seconds below which a trial is not begun: it could hardly be finished."""
        finished = [e.seconds for e in self.told if e.status == "complete"]
        others = [e.seconds for e in self.told if e.score is not None]
        return max(min(others, default=0.0), 0.5 * min(finished, default=0.0))

    def propose(self) -> list:
        n = self.n_jobs
        if self.max_trials is not None:
            n = min(n, self.max_trials - len(self.told))
        if self.queue:
            proposals, self.queue = self.queue[:n], self.queue[n:]
            return proposals
        return self.strategy.ask(n)

    def trial_deadline(self) -> float | None:
        if self.deadline is None:
            return None
        reserve = self.reserve(self.told) if self.reserve and self.has_success else 0.0
        return self.deadline - reserve

    def evaluate(self, architectures: Sequence) -> None:
        """Evaluate new architectures, write them down, and remember them in order."""
        recalled = {a: self.storage.recall(a) for a in architectures} if self.storage else {}
        if any(recalled.get(a) is None for a in architectures):
            self.repeating = False
        first = len(self.told)
        deadline = self.trial_deadline()
        finished, waiting = {}, {}
        for number, architecture in enumerate(architectures, first):
            if recalled.get(architecture) is not None:
                finished[number] = replace(recalled[architecture], number=number)
            else:
                keep_on = self.schedule.keep_on(self.told, number)
                watch = _Watch(keep_on, self.cancelled, self.hopeless if self.has_limit else None)
                epochs, seed = self.schedule.epochs, trial_seed(self.seed, number)
                waiting[number] = (architecture, Budget(epochs, deadline, watch, seed))
        for evaluation in self.evaluations(waiting):
            if self.storage is not None:
                self.storage.write(evaluation)
            finished[evaluation.number] = evaluation
            self.show("trial_finished", evaluation)
        for number in sorted(finished):
            self.remember(finished[number])
            if number not in waiting:
                self.show("trial_finished", finished[number])

    def evaluations(self, waiting: dict):
        if len(waiting) <= 1 or self.n_jobs == 1:
            for number, (architecture, budget) in waiting.items():
                yield self.trial(number, architecture, budget)
            return
        with ThreadPoolExecutor(self.n_jobs) as pool:
            trials = [pool.submit(self.trial, n, a, b) for n, (a, b) in waiting.items()]
            try:
                for trial in as_completed(trials):
                    yield trial.result()
            except BaseException:
                self.cancelled.set()
                pool.shutdown(cancel_futures=True)
                raise

    def trial(self, number, architecture, budget) -> Evaluation:
        self.show("trial_started", number, architecture)
        started = time.monotonic()
        try:
            evaluation = self.evaluator(architecture, budget)
        except Exception as error:
            logger.info("trial %d failed: %s", number, error, exc_info=True)
            evaluation = Evaluation(number, architecture, None, None, "failed", error=_line(error))
        if evaluation.status == "pruned" and budget.keep_on.out_of_time:
            evaluation = replace(evaluation, status="timeout")
        seconds = evaluation.seconds or time.monotonic() - started
        return replace(
            evaluation,
            number=number,
            architecture=architecture,
            seconds=seconds,
            seed=budget.seed,
        )

    @property
    def has_limit(self) -> bool:
        return self.deadline is not None and self.has_success

    def show(self, event: str, *details) -> None:
        if self.progress is not None:
            getattr(self.progress, event)(*details)

    def failure(self) -> SearchFailed:
        failed = [e for e in self.told if e.status == "failed"] or self.told
        cause = f"the first with: {failed[0].error}" if failed else "no trial was begun"
        error = SearchFailed(
            f"all {len(self.told)} trials of the search failed, {cause} (architecture "
            f"{failed[0].architecture if failed else None}); change 'space', 'learning_rate' or X."
        )
        error.evaluations = tuple(self.told)
        return error


class _Watch:
    """The rung rule of one trial, and everything else that may end it between epochs."""

    def __init__(self, keep_on, cancelled, hopeless):
        self.keep_on, self.cancelled, self.hopeless = keep_on, cancelled, hopeless
        self.clock = [time.monotonic()]
        self.out_of_time = False

    def __call__(self, epochs_done: int, score: float) -> bool:
        self.clock.append(time.monotonic())
        if self.keep_on is not None and not self.keep_on(epochs_done, score):
            return False
        if self.hopeless is not None and self.hopeless(self.clock):
            self.out_of_time = True
        return not (self.out_of_time or self.cancelled.is_set())


def trial_seed(seed: int, number: int) -> int:
    """The seed of a trial, independent of all others."""
    return derived_seed(seed, TRIAL_STREAM, number)


def derived_seed(seed: int, *stream: int) -> int:
    """A seed in [0, 2**31) for one of the independent streams of a search."""
    sequence = np.random.SeedSequence(seed, spawn_key=stream)
    return int(sequence.generate_state(1)[0] >> 1)


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}"
