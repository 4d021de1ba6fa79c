"""TunerSearchCV: hyperparameter search shaped like `GridSearchCV`."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import replace
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils import assert_all_finite, get_tags, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_method_params, _num_samples

from autokit.names import by_name
from autokit.persistence.studies import check_storage
from autokit.training import watched_by
from autokit.training.watching import Watch
from autokit.tuning.distributed import Worker, role, serve
from autokit.tuning.evaluation import Evaluator, own_network
from autokit.tuning.fingerprint import fingerprint, seeds_of
from autokit.tuning.hyperband import Rungs, sets_epochs, with_epochs
from autokit.tuning.progress import looked_at
from autokit.tuning.pruning import HIGHEST, make_pruner
from autokit.tuning.reading import read_space
from autokit.tuning.rebuilt import rebuilt_study
from autokit.tuning.samplers import Task, derived_seed, is_keras_tuners, make_tuner
from autokit.tuning.search import Search
from autokit.tuning.space import Space
from autokit.tuning.storage import TuningStorage
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
        ``"tpe"``, ``"gp"``, ``"cmaes"``, ``"nsga2"``.
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
        if self.storage is not None:
            check_storage(self.storage)
        _check_scoring(self.scoring)
        if y is None and get_tags(self.estimator).target_tags.required:
            raise ValueError(
                f"TunerSearchCV over {type(self.estimator).__name__} requires y to be passed, but "
                "the target y is None; pass the targets as the second argument of fit."
            )
        scorers, metric = self._get_scorers()
        X, y = indexable(X, y)
        if is_classifier(self.estimator) and getattr(y, "dtype", np.dtype(int)).kind == "f":
            assert_all_finite(y, input_name="y")  # the splitter would warn of a cast, no more
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        random_state, seed = seeds_of(self.random_state, self.storage)
        base = clone(self.estimator)
        if random_state is not None:
            _seed_estimator(base, seed)
        space = self._read_space(base)
        folds, n_splits = self._folds(X, y, routed)
        objectives, metric, highest = self._objectives(scorers, metric)
        evaluator = Evaluator(
            base,
            X,
            y,
            folds,
            scorers,
            metric=metric,
            fit_params=routed.estimator.fit,
            score_params=routed.scorer.score,
            error_score=self.error_score,
            return_train_score=self.return_train_score,
            rungs=Rungs() if sets_epochs(self.tuner) else None,
        )
        horizon = _horizon(space, base)
        task = Task(space, self.n_trials or 10**6, len(objectives), horizon, seed, self.storage)
        part = role() if is_keras_tuners(self.tuner) else None
        storage, spent_s = None, 0.0
        if part == "worker":
            storage = Worker(space)
            tuner = storage.sampler()
        else:
            tuner = make_tuner(self.tuner, task)
        if self.storage is not None:
            if part is not None:
                raise ValueError(
                    "The 'storage' parameter is not for keras-tuner's chief and workers, who keep "
                    "their search in memory; leave it out, or unset KERASTUNER_ORACLE_IP."
                )
            identity = fingerprint(self, X, y, params, folds, space, objectives, random_state, seed)
            storage = TuningStorage(self.storage, identity, len(objectives))
            if storage.worker:  # it would propose what the first one does
                task = replace(task, seed=derived_seed(seed, storage.worker))
                tuner = make_tuner(self.tuner, task)
            else:
                spent_s = storage.seconds / _n_jobs(self.n_jobs)
        search = Search(
            space,
            evaluator,
            tuner,
            objectives,
            n_trials=self.n_trials,
            started=started - spent_s,
            time_budget_s=self.time_budget_s,
            # Hyperband compares trials of equal epochs, and ends the others itself
            pruner=None
            if sets_epochs(self.tuner)
            else make_pruner(self.pruner, n_splits * (horizon or 1)),
            horizon=horizon or 1,
            highest=highest,
            refit_share=_refit_share(folds, X) if self.refit else 0.0,
            n_jobs=_n_jobs(self.n_jobs),
            storage=storage,
        )
        metrics = getattr(scorers, "_scorers", None) or objectives
        with looked_at(search, self.verbose, self.log_dir, tuple(metrics)) as display:
            try:
                if part == "chief":
                    deadline = self.time_budget_s and started + self.time_budget_s
                    search.trials = serve(self.tuner, task, deadline)
                    trials = search.trials
                else:
                    trials = search.run()
            finally:
                if storage is not None:
                    storage.close()
            self.trials_, self.stopped_ = tuple(trials), search.stopped
            self.n_splits_, self._searched, self.objectives_ = n_splits, space, objectives
            self.multimetric_ = metric != "score"
            self._conclude(metric)
            if self.refit:
                if display is not None:
                    display.refit_started()
                self._refit(base, X, y, routed.estimator.fit, started)
        return self

    def _folds(self, X, y, routed):
        splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        folds = list(splitter.split(X, y, **routed.splitter.split))
        if not folds:
            raise ValueError("The 'cv' parameter gives no folds; give at least one split.")
        return folds, len(folds)

    def _objectives(self, scorers, metric):
        """What is maximised, what pruning looks at, and the most that it can be."""
        names = list(getattr(scorers, "_scorers", ()))
        if not names:
            one = callable(self.scoring) and isinstance(self.refit, str)
            metric = self.refit if one else "score"  # a callable may give several scores
            return (metric,), metric, _highest(self.scoring, self.estimator)
        if not isinstance(metric, str):  # refit is False or a callable
            metric = names[0]
        several = self.tuner == "nsga2" or type(self.tuner).__name__.startswith("NSGA")
        objectives = tuple(names) if several else (metric,)
        scoring = self.scoring[metric] if isinstance(self.scoring, dict) else metric
        return objectives, metric, _highest(scoring, self.estimator)

    def _conclude(self, metric: str) -> None:
        results = self.cv_results_
        if not (self.refit or not self.multimetric_):
            return
        self.best_index_ = int(self._select_best_index(self.refit, metric, results))
        if not callable(self.refit):
            self.best_score_ = float(results[f"mean_test_{metric}"][self.best_index_])
        self.best_params_ = results["params"][self.best_index_]

    def _refit(self, base, X, y, fit_params, started) -> None:
        best = clone(base).set_params(**clone(self.best_params_, safe=False))
        began = time.monotonic()
        watch = Watch()
        if self.time_budget_s is not None:
            watch.deadline = started + self.time_budget_s
        with watched_by(watch):
            if y is None:
                best.fit(X, **fit_params)
            else:
                best.fit(X, y, **fit_params)
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


def _seed_estimator(estimator: Any, seed: int) -> None:
    """Give every `random_state` that is None a seed."""
    for name, value in sorted(estimator.get_params(deep=True).items()):
        if value is None and (name == "random_state" or name.endswith("__random_state")):
            estimator.set_params(**{name: seed})


def _horizon(space: Space, estimator: Any) -> int | None:
    """Most epochs of a fit, where the estimator counts them."""
    network = own_network(estimator)
    if network is None:
        return None
    epochs = network.epochs
    for entry in space:
        if entry.parameter.rpartition("__")[2] == "epochs":
            dimension = entry.dimension
            choices = getattr(dimension, "choices", None)
            epochs = max(choices) if choices else dimension.high
    return int(epochs)


def _check_scoring(scoring: Any) -> None:
    """Name the scorer nearest to one that does not exist."""
    names = scoring.values() if isinstance(scoring, dict) else scoring
    names = [names] if isinstance(names, str) else names
    if names is None or callable(names):
        return
    known = dict.fromkeys(get_scorer_names())
    for name in names:
        if isinstance(name, str):
            by_name("scoring", name, known, "a callable, or a list or dict of them")


def _highest(scoring: Any, estimator: Any) -> float:
    """The most that a scorer can give."""
    if scoring is None:
        return 1.0 if own_network(estimator) is not None else math.inf
    if isinstance(scoring, str):
        return 0.0 if scoring.startswith("neg_") else HIGHEST.get(scoring, math.inf)
    return math.inf


def _refit_share(folds, X) -> float:
    """Rows of the refit by rows of a fold."""
    return _num_samples(X) / max(1, min(len(train) for train, _ in folds))


def _n_jobs(n_jobs: int | None) -> int:
    from joblib import effective_n_jobs

    return 1 if n_jobs is None else effective_n_jobs(n_jobs)
