"""TunerSearchCV: hyperparameter search shaped like `GridSearchCV`."""

from __future__ import annotations

import copy
import time
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from autokit.training import Watch, watched_by
from autokit.tuning.evaluation import own_network
from autokit.tuning.hyperband import sets_epochs, with_epochs
from autokit.tuning.job import Job
from autokit.tuning.progress import looked_at
from autokit.tuning.reading import read_space
from autokit.tuning.rebuilt import rebuilt_study
from autokit.tuning.space import Space
from autokit.tuning.table import cv_results


class TunerSearchCV(BaseSearchCV):
    """Search the parameters of any scikit-learn estimator with a tuner of your choice.

    Parameters
    ----------
    estimator : estimator
        Of scikit-learn's kind, pipelines included. For `autokit.KerasClassifier` and
        `autokit.KerasRegressor`, alone or at the end of a pipeline, trials are judged at the end
        of every epoch, and trials of one architecture share its compiled training.
    space : dict, list of dict or None, default=None
        Parameter names (``step__name`` in a pipeline) to `Float`, `Int`, `Categorical`, a list of
        values or a distribution of scipy. A list of dicts is a union, as in `GridSearchCV`. None
        for an estimator whose ``model`` is a keras-tuner function ``build(hp)``: it has its
        search space by itself.
    tuner : str, optuna sampler or keras-tuner oracle, default="tpe"
        keras-tuner's ``"random"``, ``"bayesian"``, ``"hyperband"``, ``"grid"``; Optuna's
        ``"tpe"``, ``"gp"``, ``"cmaes"``, ``"nsga2"``. ``"hyperband"`` sets the epochs of each
        trial, up to the estimator's. An oracle is copied, searches for `scoring` whatever its
        objective, and counts its own ``max_trials`` beside `n_trials`. keras-tuner's work on
        several machines as its chief and workers, see `autokit.tuning.distributed`.
    n_trials : int or None, default=50
        None: until the time is over or the tuner has nothing left.
    time_budget_s : float or None, default=None
        Wall time of `fit`, the refit included. What is resumed from a `storage` has used up the
        time of the trials in it, but for the refit; a process that joins others has time of its
        own. At least one trial is done, with less training if it must be; a fit of another
        package is never broken off, and not begun if by earlier ones it would end too late.
    cv : int, splitter, iterable or None, default=None
        As in `GridSearchCV`: None is 5 folds, stratified for classifiers.
    scoring : str, callable, list, tuple, dict or None, default=None
        As in `GridSearchCV`. With several scorers `refit` names the one that is searched for;
        ``tuner="nsga2"`` searches for the front of all of them.
    pruner : {"median", "halving", "hyperband", "wilcoxon"}, optuna pruner or None, default="median"
        Ends trials that do badly, within a fold where the estimator counts epochs and after each
        fold everywhere. ``"wilcoxon"`` compares fold with fold. Not used with several objectives.
    storage : path, URL or None, default=None
        A file (or a database's URL) that keeps every finished trial: an interrupted search goes
        on, and several processes may work on one search. Together they do `n_trials`, and each
        waits for the last ones that run in others of its machine, so that all end with the same
        table. A search may be prolonged by more `n_trials` or a longer `time_budget_s`; anything
        else that differs is refused.
    n_jobs : int or None, default=None
        Trials at work at the same time, as threads; -1 for one a processor. With more than one,
        the order of finishing decides what the tuner knows, so that a seed does not repeat.
    refit : bool, str or callable, default=True
        As in `GridSearchCV`.
    random_state : int, RandomState or None, default=None
        Seeds the tuner, and every ``random_state`` of the estimator that is None.
    verbose : int, default=0
        1 shows the trials, the incumbent, the budget left and what pruning saves while it runs.
    log_dir : str, path-like or None, default=None
        A folder for TensorBoard's logs of this search: a run for each trial, with its scores by
        epoch and its parameters (HParams).
    error_score : "raise" or float, default=np.nan
        Score of a trial whose fit fails.
    return_train_score : bool, default=False

    Attributes
    ----------
    best_estimator_ : estimator
        Fitted to all rows with `best_params_`; only with `refit`.
    best_params_ : dict
    best_score_ : float
        Mean over the folds.
    best_index_ : int
        Of the best trial, in `trials_` and `cv_results_`.
    cv_results_ : dict of str to array
        The columns of `GridSearchCV`, and ``status`` ("complete", "pruned" or "failed") and
        ``epochs``. Folds that were not run are NaN.
    trials_ : tuple of Trial
        What each trial has shown.
    objectives_ : tuple of str
        Metrics that were searched for; several with ``tuner="nsga2"`` and several scorers.
    pareto_front_ : array of int
        Complete trials that no other beats in all of them.
    study_ : optuna.Study
        The trials as a study in memory, whichever tuner it was.
    n_splits_ : int
    refit_time_ : float
        Seconds.
    stopped_ : str
        Why the search ended: "n_trials", "time_budget_s", "exhausted" or "interrupted".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from autokit import KerasClassifier
    >>> from autokit.tuning import Float, TunerSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> search = TunerSearchCV(
    ...     KerasClassifier(epochs=10),
    ...     {"learning_rate": Float(1e-4, 1e-1, log=True)},
    ...     n_trials=5,
    ...     cv=2,
    ...     random_state=0,
    ... ).fit(X, y)
    >>> bool(search.best_score_ > 0.8)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"])],
        "n_trials": [None, Interval(Integral, 1, None, closed="left")],
        "time_budget_s": [None, Interval(Real, 0, None, closed="neither")],
        "cv": ["cv_object"],
        "storage": [None, str, PathLike],
        "n_jobs": [None, Integral],
        "refit": ["boolean", str, callable],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "log_dir": [None, str, PathLike],
        "error_score": [StrOptions({"raise"}), Real],
        "return_train_score": ["boolean"],
    }

    def __init__(
        self,
        estimator,
        space=None,
        *,
        tuner="tpe",
        n_trials=50,
        time_budget_s=None,
        cv=None,
        scoring=None,
        pruner="median",
        storage=None,
        n_jobs=None,
        refit=True,
        random_state=None,
        verbose=0,
        log_dir=None,
        error_score=np.nan,
        return_train_score=False,
    ):
        super().__init__(
            estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.space = space
        self.tuner = tuner
        self.n_trials = n_trials
        self.time_budget_s = time_budget_s
        self.pruner = pruner
        self.storage = storage
        self.random_state = random_state
        self.log_dir = log_dir

    def fit(self, X, y=None, **params) -> Self:
        """Search, then fit the best parameters to all rows.

        Parameters
        ----------
        X : array-like or DataFrame of n_samples rows
        y : array-like of n_samples targets, default=None
        **params
            As for `GridSearchCV.fit`: ``groups`` for the splitter, the rest for the estimator
            (and, with metadata routing, for whoever asks for it).

        Returns
        -------
        self
        """
        started = time.monotonic()
        self._validate_params()
        job = Job(self, X, y, params, started)
        with looked_at(job.search, self.verbose, self.log_dir, job.metrics) as display:
            self.trials_, self.stopped_ = tuple(job.run()), job.search.stopped
            self.n_splits_, self.objectives_ = job.n_splits, job.objectives
            self._searched = job.space
            self.multimetric_ = job.metric != "score"
            self._conclude(job.metric)
            if self.refit:
                if display is not None:
                    display.refit_started()
                self._refit(job, started)
            if display is not None:
                display.refit_finished()
        return self

    def _conclude(self, metric: str) -> None:
        results = self.cv_results_
        if not (self.refit or not self.multimetric_):
            return
        self.best_index_ = int(self._select_best_index(self.refit, metric, results))
        if not callable(self.refit):
            self.best_score_ = float(results[f"mean_test_{metric}"][self.best_index_])
        self.best_params_ = results["params"][self.best_index_]

    def _refit(self, job: Job, started: float) -> None:
        best = clone(job.base).set_params(**clone(self.best_params_, safe=False))
        began = time.monotonic()
        watch = Watch()
        if self.time_budget_s is not None:
            watch.deadline = started + self.time_budget_s
        targets = () if job.y is None else (job.y,)
        with watched_by(watch):
            best.fit(job.X, *targets, **job.fit_params)
        self.refit_time_ = time.monotonic() - began
        self.best_estimator_ = best
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_

    @property
    def _space(self) -> Space:
        """The space that was searched; read again in a search that comes from a file."""
        if "_searched" not in self.__dict__:
            self._searched = self._read_space(self.estimator)
        return self._searched

    def _read_space(self, estimator) -> Space:
        space = read_space(self.space, estimator)
        if not sets_epochs(self.tuner):
            return space
        steps = getattr(estimator, "steps", None)
        prefix = f"{steps[-1][0]}__" if steps else ""
        return with_epochs(space, own_network(estimator), prefix, self.tuner)

    def __getstate__(self):
        # what a scipy distribution or a grid of objects became holds functions
        state = super().__getstate__().copy()
        state.pop("_searched", None)
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.input_tags, tags.target_tags = copy.copy(inner.input_tags), inner.target_tags
        tags.array_api_support = False  # rows are cut in NumPy
        return tags

    @property
    def cv_results_(self) -> dict[str, Any]:
        """The table of the search."""
        return cv_results(self.trials_, self._space, self.n_splits_, self.error_score)

    @property
    def study_(self):
        """The trials as an Optuna study, made anew each time."""
        return rebuilt_study(self.trials_, self._space, self.objectives_)

    @property
    def pareto_front_(self) -> np.ndarray:
        """Indices of the complete trials that no other beats in all `objectives_`."""
        return np.array(sorted(trial.number for trial in self.study_.best_trials))

    @property
    def scorer_(self):
        """The scorer, or a dict of them by name."""
        scorers, _ = self._get_scorers()
        return getattr(scorers, "_scorers", scorers)
