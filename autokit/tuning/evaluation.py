"""One trial: the estimator with its parameters, fitted and scored on every fold."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from threading import Event
from typing import Any, Protocol

import numpy as np
from sklearn.base import clone
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params

from autokit._backend import keras
from autokit.base import KerasEstimator
from autokit.estimators import KerasClassifier, KerasRegressor
from autokit.training import ForwardPool, Watch, watched_by
from autokit.training.program import Program
from autokit.training.watching import Checkpoint
from autokit.tuning.hyperband import Rungs
from autokit.tuning.networks import Networks
from autokit.tuning.trial import COMPLETE, FAILED, PRUNED, Trial

CACHED_FOLD_BYTES = 2**28  # of rows cut once for all trials; larger folds are cut anew each time


class Judge(Protocol):
    """Decides while a trial runs whether it goes on; see `autokit.tuning.pruning`."""

    def epoch(self, fold: int, epoch: int, score: float) -> bool:
        """Whether a trial ends that has this score at an epoch of a fold."""

    def fold(self, scores: Sequence[float]) -> bool:
        """Whether a trial ends that has these scores on its first folds."""


class Stop(BaseException):
    """Ends the training of a trial; no `except Exception` of an estimator may hold it up."""


class TrialPruned(Stop):
    """The trial is not worth going on with."""


class BadScorer(ValueError):
    """What a scorer gives is of no use: a mistake in the call, and not a trial that fails."""


class OutOfTime(Stop):
    """The time of the search is over."""


class Halted(Stop):
    """The search has ended for a reason outside this trial."""


@dataclass
class Evaluator:
    """Fits and scores an estimator on folds that are made once.

    Parameters
    ----------
    estimator : estimator
        Cloned for every fold.
    X, y : array-like
    folds : list of (train, test) index arrays
    scorer : callable
        ``(estimator, X, y, **params) -> float or dict of str to float``.
    metric : str
        What pruning looks at; "score" if `scorer` gives one number.
    fit_params, score_params : dict
        Of `fit` and of the scorer; arrays of one value a row are cut with the rows.
    error_score : "raise" or float
        Score of a fold whose fit fails.
    return_train_score : bool
    rungs : Rungs or None
        Where trials ended that others go on with.
    """

    estimator: Any
    X: Any
    y: Any
    folds: list[tuple[np.ndarray, np.ndarray]]
    scorer: Callable
    metric: str = "score"
    fit_params: Mapping[str, Any] = field(default_factory=dict)
    score_params: Mapping[str, Any] = field(default_factory=dict)
    error_score: Any = np.nan
    return_train_score: bool = False
    rungs: Rungs | None = None
    longest_fold_s: float = field(default=0.0, init=False)
    first_error: Exception | None = field(default=None, init=False, repr=False)
    networks: Networks = field(default_factory=Networks, init=False, repr=False)
    _forwards: ForwardPool = field(default_factory=ForwardPool, repr=False)
    _cut: dict[int, tuple] = field(default_factory=dict, repr=False)

    def evaluate(
        self,
        values: dict[str, Any],
        parameters: Mapping[str, Any],
        judge: Judge | None = None,
        deadline: Callable[[Sequence[float]], float] | None = None,
        must_finish: bool = False,
        halt: Event | None = None,
    ) -> Trial:
        """Run one trial.

        Parameters
        ----------
        values : dict
            What the trial is recorded with.
        parameters : dict
            What the estimator gets.
        judge : Judge or None
        deadline : callable or None
            From the seconds of the trial's fits so far to the ``time.monotonic()`` second at
            which it ends. A fit of another package, which nobody can end, is not begun if it
            would last longer, as far as is known from earlier ones.
        must_finish : bool, default=False
            Instead of giving up at the deadline, train less: each fold gets an equal share of
            the time, as far as the estimator is one of this package.
        halt : threading.Event or None
            Once set, the trial ends at the next epoch or fold.

        Returns
        -------
        Trial

        Raises
        ------
        OutOfTime
            The deadline has come.
        Halted
            `halt` was set.
        Exception
            What a fold raised, with ``error_score="raise"``.
        """
        run = _Run(self, values, judge, deadline, must_finish, halt or Event())
        started = time.monotonic()
        status, error = COMPLETE, None
        try:
            for k in range(len(self.folds)):
                run.fold(k, parameters)
        except TrialPruned:
            status = PRUNED
        except Exception as failure:
            if self.error_score == "raise" or isinstance(failure, BadScorer):
                raise
            self.first_error = self.first_error or failure
            status, error = FAILED, f"{type(failure).__name__}: {failure}"
        return Trial(
            number=-1,
            values=dict(values),
            status=status,
            scores=tuple(run.scores),
            train_scores=tuple(run.train_scores),
            fit_times=tuple(run.fit_times),
            score_times=tuple(run.score_times),
            epochs=run.epochs,
            error=error,
            seconds=time.monotonic() - started,
        )

    def rows(self, k: int) -> tuple:
        """Training rows and targets, then test rows and targets, of a fold."""
        if k in self._cut:
            return self._cut[k]
        train, test = self.folds[k]
        cut = (
            *_safe_split(self.estimator, self.X, self.y, train),
            *_safe_split(self.estimator, self.X, self.y, test, train),
        )
        size = getattr(self.X, "nbytes", None)
        if size is None:
            size = np.size(self.X) * 8
        if size * len(self.folds) <= CACHED_FOLD_BYTES:
            self._cut[k] = cut
        return cut

    def score(self, estimator, X, y, params) -> dict[str, float]:
        """Scores by metric."""
        found = (
            self.scorer(estimator, X, **params)
            if y is None
            else self.scorer(estimator, X, y, **params)
        )
        found = found if isinstance(found, dict) else {"score": found}
        for name, value in found.items():
            if not isinstance(value, Real):
                raise BadScorer(
                    f"The 'scoring' parameter must give numbers; {name!r} is a "
                    f"{type(value).__name__}: {value!r}."
                )
        if self.metric not in found:
            raise BadScorer(
                f"The 'scoring' parameter gives {', '.join(found)}: set 'refit' to the one that is "
                "searched for."
            )
        return {name: float(value) for name, value in found.items()}

    def share_forward(self, network: KerasEstimator, model: keras.Model) -> None:
        """Let a network predict through what equal architectures have compiled already."""
        network._forward = self._forwards.share(model, network._finish(), _tag(network))


class _Run:
    """The folds of one trial."""

    def __init__(self, evaluator, values, judge, deadline, must_finish, halt):
        self.evaluator: Evaluator = evaluator
        self.values = values
        self.halt: Event = halt
        self.judge, self.deadline, self.must_finish = judge, deadline, must_finish
        self.scores: list[dict[str, float]] = []
        self.train_scores: list[dict[str, float]] = []
        self.fit_times: list[float] = []
        self.score_times: list[float] = []
        self.epochs = 0

    def fold(self, k: int, parameters: Mapping[str, Any]) -> None:
        evaluator = self.evaluator
        estimator = clone(evaluator.estimator).set_params(**clone(dict(parameters), safe=False))
        train, test = evaluator.folds[k]
        X_train, y_train, X_test, y_test = evaluator.rows(k)
        fit_params = _check_method_params(evaluator.X, evaluator.fit_params, indices=train)
        score_params = _check_method_params(evaluator.X, evaluator.score_params, indices=test)
        deadline = self._deadline(k)
        self._check_time(k, estimator, deadline)
        started = time.monotonic()
        watch = _FoldWatch(self, k, estimator, (X_test, y_test, score_params), deadline)
        try:
            with watched_by(watch):
                if y_train is None:
                    estimator.fit(X_train, **fit_params)
                else:
                    estimator.fit(X_train, y_train, **fit_params)
            if not self.must_finish and deadline is not None and time.monotonic() >= deadline:
                raise OutOfTime
            self._score(k, estimator, watch.test, started)
        finally:
            watch.give_back()
        is_last = k + 1 == len(evaluator.folds)
        if self.judge is not None and not is_last and self.judge.fold(self.metric_scores):
            raise TrialPruned

    def _score(self, k: int, estimator: Any, test: tuple, started: float) -> None:
        evaluator, fitted = self.evaluator, time.monotonic()
        network = own_network(estimator)
        if network is not None:
            evaluator.share_forward(network, network.model_)
        self.scores.append(evaluator.score(estimator, *test))
        self.fit_times.append(fitted - started)
        self.score_times.append(time.monotonic() - fitted)
        evaluator.longest_fold_s = max(evaluator.longest_fold_s, time.monotonic() - started)
        if evaluator.return_train_score:
            X, y, _, _ = evaluator.rows(k)
            train, _ = evaluator.folds[k]
            params = _check_method_params(evaluator.X, evaluator.score_params, indices=train)
            self.train_scores.append(evaluator.score(estimator, X, y, params))

    @property
    def metric_scores(self) -> list[float]:
        return [scores[self.evaluator.metric] for scores in self.scores]

    def _deadline(self, k: int) -> float | None:
        if self.deadline is None:
            return None
        deadline = self.deadline(self.fit_times)
        if not self.must_finish:
            return deadline
        now = time.monotonic()
        return now + max(0.0, deadline - now) / (len(self.evaluator.folds) - k)

    def _check_time(self, k: int, estimator: Any, deadline: float | None) -> None:
        if self.halt.is_set():
            raise Halted
        if deadline is None or self.must_finish or own_network(estimator) is not None:
            return
        left = len(self.evaluator.folds) - k
        expected = left * max(self.fit_times) if k else self.evaluator.longest_fold_s
        if time.monotonic() + expected > deadline:
            raise OutOfTime


class _FoldWatch(Watch):
    """Counts epochs, and scores the network that trains at the end of each."""

    def __init__(self, run: _Run, k: int, estimator, test: tuple, deadline: float | None):
        self.run, self.k, self.estimator, self.test = run, k, estimator, test
        self.deadline = deadline
        self.lent: list[tuple] = []
        self._view: KerasEstimator | None = None

    def epoch(self, model, training, epoch, logs) -> None:
        run = self.run
        run.epochs += 1
        if run.halt.is_set():
            raise Halted
        if self.deadline is not None and time.monotonic() >= self.deadline:
            if run.must_finish:
                return
            raise OutOfTime
        network = own_network(self.estimator)
        if run.judge is None or network is None or getattr(network, "model_", None) is not model:
            return
        score = self._score(network, training)
        if run.judge.epoch(self.k, epoch, score):
            raise TrialPruned

    def resume(self, model, epochs) -> Checkpoint | None:
        rungs = self._rungs(model)
        return None if rungs is None else rungs.get(self.run.values, self.k)

    def keep(self, model, checkpoint) -> None:
        rungs = self._rungs(model)
        if rungs is not None:
            rungs.put(self.run.values, self.k, checkpoint())

    def _rungs(self, model) -> Rungs | None:
        """Where the network's own training is kept; not that of a copy of it."""
        network = own_network(self.estimator)
        is_own = network is not None and getattr(network, "model_", None) is model
        return self.run.evaluator.rungs if is_own else None

    def network(self, key, build):
        # what a fold has fitted is thrown away after its score
        found = self.run.evaluator.networks.borrow(key, build)
        self.lent.append((key, *found))
        return found

    def give_back(self) -> None:
        """Let later folds have the networks of this one."""
        for lent in self.lent:
            self.run.evaluator.networks.give_back(*lent)

    def _score(self, network: KerasEstimator, training: Program) -> float:
        X, y, params = self.test
        if self._view is None:
            self._view = self._view_of(network, training)
        evaluator = self.run.evaluator
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metrics on a network that is hardly trained
            return evaluator.score(self._view, X, y, params)[evaluator.metric]

    def _view_of(self, network: KerasEstimator, training: Program) -> KerasEstimator:
        """The estimator as it would be if training ended now; knows the test rows only."""
        X = self.test[0]
        for _, step in getattr(self.estimator, "steps", [])[:-1]:
            X = X if step in (None, "passthrough") else step.transform(X)
        rows = network.encoder_.encode(X, type(network).__name__)
        view = object.__new__(type(network))
        view.__dict__.update(network.__dict__, model_=training.model, _encode=lambda X: rows)
        view._forward = training.forward(network._finish(), _tag(network))
        return view


def _tag(network: KerasEstimator) -> str:
    """The same for networks whose outputs are finished alike."""
    return f"{type(network).__name__} {getattr(network, 'output_activation_', None)}"


def own_network(estimator: Any) -> KerasEstimator | None:
    """The plain Keras estimator that an estimator is, or that its pipeline ends in."""
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if steps else estimator
    return last if type(last) in (KerasClassifier, KerasRegressor) else None
