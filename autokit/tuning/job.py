"""One call of `TunerSearchCV.fit`: what is checked and made before the first trial, and the run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import assert_all_finite, get_tags, indexable
from sklearn.utils.validation import _check_method_params, _num_samples

from autokit.persistence.studies import check_storage
from autokit.tuning.distributed import Worker, role, serve
from autokit.tuning.evaluation import Evaluator, own_network
from autokit.tuning.fingerprint import fingerprint, seeds_of
from autokit.tuning.hyperband import Rungs, sets_epochs
from autokit.tuning.pruning import make_pruner
from autokit.tuning.samplers import Task, derived_seed, is_keras_tuners, make_tuner
from autokit.tuning.scoring import check_scoring_names, objectives_of
from autokit.tuning.search import Search
from autokit.tuning.space import Space
from autokit.tuning.storage import TuningStorage
from autokit.tuning.trial import Trial


class Job:
    """One search, ready to run.

    Parameters
    ----------
    owner : TunerSearchCV
        Whose parameters are used.
    X, y : array-like
    params : dict
        Of `TunerSearchCV.fit`.
    started : float
        ``time.monotonic()`` second from which the time budget counts.

    Attributes
    ----------
    X, y
        As scikit-learn's searches index them.
    base : estimator
        Cloned for every fold and for the refit.
    fit_params : dict
    space : Space
    n_splits : int
    objectives : tuple of str
        Metrics that are maximised.
    metric : str
        What pruning looks at and the best trial is chosen by.
    search : Search
    """

    def __init__(self, owner: Any, X: Any, y: Any, params: dict[str, Any], started: float):
        self._owner, self._started = owner, started
        if owner.storage is not None:
            check_storage(owner.storage)
        check_scoring_names(owner.scoring)
        scorers, metric = owner._get_scorers()
        self.X, self.y = _checked_rows(owner.estimator, X, y)
        params = _check_method_params(self.X, params=params)
        routed = owner._get_routed_params_for_fit(params)
        self.fit_params = routed.estimator.fit
        random_state, seed = seeds_of(owner.random_state, owner.storage)
        self.base = clone(owner.estimator)
        if random_state is not None:
            _seed_estimator(self.base, seed)
        self.space = owner._read_space(self.base)
        _check_end(owner, self.space)
        folds = _folds(owner, self.X, self.y, routed.splitter.split)
        self.n_splits = len(folds)
        self.objectives, self.metric, highest = objectives_of(owner, scorers, metric)
        self.metrics = tuple(getattr(scorers, "_scorers", None) or self.objectives)
        sets_own_epochs = sets_epochs(owner.tuner)
        evaluator = Evaluator(
            self.base,
            self.X,
            self.y,
            folds,
            scorers,
            metric=self.metric,
            fit_params=self.fit_params,
            score_params=routed.scorer.score,
            error_score=owner.error_score,
            return_train_score=owner.return_train_score,
            rungs=Rungs() if sets_own_epochs else None,
        )
        epochs = _most_epochs(self.space, self.base)
        n_trials = owner.n_trials or 10**6
        self._task = Task(self.space, n_trials, len(self.objectives), epochs, seed, owner.storage)
        self._part = role() if is_keras_tuners(owner.tuner) else None
        identity = None
        if owner.storage is not None:
            identity = fingerprint(
                owner,
                self.X,
                self.y,
                params,
                folds,
                self.space,
                self.objectives,
                random_state,
                seed,
            )
        # Hyperband compares trials of equal epochs, and ends the others itself
        pruner = None if sets_own_epochs else make_pruner(owner.pruner, epochs or 1, len(folds))
        # last of all: a storage knows a search from then on
        storage, tuner = self._storage_and_tuner(identity, seed)
        n_jobs = _n_jobs(owner.n_jobs)
        # what an earlier run has used up; a process that joins has its own time
        spent_s = storage.seconds / n_jobs if identity and not storage.worker else 0.0
        self.search = Search(
            self.space,
            evaluator,
            tuner,
            self.objectives,
            n_trials=owner.n_trials,
            started=started - spent_s,
            time_budget_s=owner.time_budget_s,
            pruner=pruner,
            horizon=epochs or 1,
            highest=highest,
            refit_share=_refit_share(folds, self.X) if owner.refit else 0.0,
            n_jobs=n_jobs,
            storage=storage,
        )

    def _storage_and_tuner(self, identity: dict | None, seed: int):
        owner, task = self._owner, self._task
        if self._part is not None and identity is not None:
            raise ValueError(
                "The 'storage' parameter is not for keras-tuner's chief and workers, who keep "
                "their search in memory; leave it out, or unset KERASTUNER_ORACLE_IP."
            )
        if self._part == "worker":
            worker = Worker(self.space)
            return worker, worker.sampler()
        tuner = make_tuner(owner.tuner, task)
        if identity is None:
            return None, tuner
        storage = TuningStorage(owner.storage, identity, len(self.objectives))
        if storage.worker:  # it would propose what the first one does
            tuner = make_tuner(owner.tuner, replace(task, seed=derived_seed(seed, storage.worker)))
        return storage, tuner

    def run(self) -> list[Trial]:
        """Search, or serve those who do; see `Search.run` for what is raised."""
        search, budget_s = self.search, self._owner.time_budget_s
        try:
            if self._part == "chief":
                deadline = budget_s and self._started + budget_s
                search.trials = serve(self._owner.tuner, self._task, deadline)
                return search.trials
            return search.run()
        finally:
            if search.storage is not None:
                search.storage.close()


def _checked_rows(estimator: Any, X: Any, y: Any) -> tuple:
    if y is None and get_tags(estimator).target_tags.required:
        raise ValueError(
            f"TunerSearchCV over {type(estimator).__name__} requires y to be passed, but the "
            "target y is None; pass the targets as the second argument of fit."
        )
    X, y = indexable(X, y)
    if is_classifier(estimator) and getattr(y, "dtype", np.dtype(int)).kind == "f":
        assert_all_finite(y, input_name="y")  # the splitter would warn of a cast, no more
    return X, y


def _check_end(owner: Any, space: Space) -> None:
    goes_on = isinstance(owner.tuner, str) and owner.tuner not in ("grid", "hyperband")
    if owner.n_trials is None and owner.time_budget_s is None and goes_on:
        if math.isinf(space.n_points):
            raise ValueError(
                f"The search would never end: tuner={owner.tuner!r} always finds another point of "
                "this space. Set 'n_trials' or 'time_budget_s'."
            )


def _folds(owner: Any, X: Any, y: Any, split_params: dict) -> list[tuple]:
    splitter = check_cv(owner.cv, y, classifier=is_classifier(owner.estimator))
    folds = list(splitter.split(X, y, **split_params))
    if not folds:
        raise ValueError("The 'cv' parameter gives no folds; give at least one split.")
    return folds


def _seed_estimator(estimator: Any, seed: int) -> None:
    """Give every `random_state` that is None a seed."""
    for name, value in sorted(estimator.get_params(deep=True).items()):
        if value is None and (name == "random_state" or name.endswith("__random_state")):
            estimator.set_params(**{name: seed})


def _most_epochs(space: Space, estimator: Any) -> int | None:
    """Most epochs of a fit, where the estimator counts them."""
    network = own_network(estimator)
    if network is None:
        return None
    found = [e for e in space if e.parameter.rpartition("__")[2] == "epochs"]
    values = [
        entry.parameter_value(value)
        for entry in found
        for value in getattr(entry.dimension, "labels", None) or (entry.dimension.high,)
    ]
    if not found or any(entry.when for entry in found):  # of trials that do not have it
        values.append(network.epochs)
    return int(max(values))


def _refit_share(folds: list[tuple], X: Any) -> float:
    """Rows of the refit by rows of a fold."""
    return _num_samples(X) / max(1, min(len(train) for train, _ in folds))


def _n_jobs(n_jobs: int | None) -> int:
    from joblib import effective_n_jobs

    return 1 if n_jobs is None else effective_n_jobs(n_jobs)
