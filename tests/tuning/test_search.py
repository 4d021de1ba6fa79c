"""The loop of a search: its time, its threads, and how it ends."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris

from autokit import KerasClassifier
from autokit.tuning import Categorical, Float, Int, TunerSearchCV
from autokit.tuning.search import SearchFailed

X, y = load_iris(return_X_y=True)


class Sleeper(ClassifierMixin, BaseEstimator):
    """Takes a known time, and answers by `level`."""

    fitted: list = []

    def __init__(self, level=0, fit_s=0.0, breaks=None):
        self.level, self.fit_s, self.breaks = level, fit_s, breaks

    def fit(self, X, y):
        type(self).fitted.append((self.level, threading.get_ident()))
        if self.breaks is not None and self.level == 3:
            time.sleep(0.1)
            raise self.breaks
        time.sleep(self.fit_s)
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        right = np.arange(len(X)) % 60 < self.level
        return np.where(right, self.classes_[0], self.classes_[1])


@pytest.fixture(autouse=True)
def nothing_fitted():
    Sleeper.fitted = []


def search(estimator, space=None, **settings):
    settings = {"cv": 3, "n_trials": 10, "random_state": 0, "pruner": None} | settings
    return TunerSearchCV(estimator, space or {"level": Int(1, 60)}, **settings)


def seconds(found):
    started = time.monotonic()
    found.fit(X, y)
    return time.monotonic() - started


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("refit", [True, False])
def test_a_budget_is_kept_and_used_with_fits_that_nobody_can_end(n_jobs, refit):
    found = search(Sleeper(fit_s=0.2), n_trials=None, time_budget_s=3.0, n_jobs=n_jobs, refit=refit)
    taken = seconds(found)
    assert 1.5 < taken < 3.0 + 0.5
    assert found.stopped_ == "time_budget_s"
    assert len(found.trials_) >= 2 and all(t.status == "complete" for t in found.trials_)
    if refit:
        assert found.refit_time_ >= 0.2


def test_a_budget_counts_the_refit_of_a_slow_trial_that_becomes_the_best():
    class Slower(Sleeper):
        def fit(self, X, y):
            self.fit_s = 0.01 * self.level
            return super().fit(X, y)

    taken = seconds(search(Slower(), n_trials=None, time_budget_s=3.0))
    assert taken < 3.0 + 0.8


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_budget_is_kept_by_networks(n_jobs):
    found = search(
        KerasClassifier(epochs=4000),
        {"learning_rate": Float(1e-4, 1e-2, log=True), "batch_size": Categorical([16, 32])},
        n_trials=None,
        time_budget_s=8.0,
        n_jobs=n_jobs,
    )
    assert seconds(found) < 8.0 + 2.0
    assert found.stopped_ == "time_budget_s"
    assert found.trials_[0].status == "complete" and found.best_estimator_.score(X, y) > 0.5


def test_one_trial_finishes_whatever_the_budget():
    found = search(Sleeper(fit_s=0.05), time_budget_s=1e-3).fit(X, y)
    assert [t.status for t in found.trials_] == ["complete"]
    assert len(found.trials_[0].scores) == 3


def test_no_trial_that_gives_a_score_in_time_is_an_error():
    found = search(Sleeper(breaks=ValueError("no")), {"level": [3]}, n_trials=9, time_budget_s=0.05)
    with pytest.raises(
        SearchFailed, match=r"All \d trials failed. The first, with .*ValueError: no"
    ):
        found.fit(X, y)
    assert len(Sleeper.fitted) <= 3


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_every_trial_is_done_once(n_jobs):
    found = search(Sleeper(fit_s=0.01), n_trials=9, n_jobs=n_jobs).fit(X, y)
    assert [t.number for t in found.trials_] == list(range(9))
    levels = [t.values["level"] for t in found.trials_]
    fits = [level for level, _ in Sleeper.fitted]
    for level in set(levels):
        wanted = 3 * levels.count(level) + (level == found.best_params_["level"])
        assert fits.count(level) == wanted
    assert len({thread for _, thread in Sleeper.fitted}) >= n_jobs
    assert found.best_score_ == max(found.cv_results_["mean_test_score"])


def test_threads_know_the_settings_of_scikit_learn():
    class Told(Sleeper):
        def fit(self, X, y):
            told.append(sklearn.get_config()["assume_finite"])
            return super().fit(X, y)

    told: list = []
    with sklearn.config_context(assume_finite=True):
        search(Told(), n_trials=4, n_jobs=2).fit(X, y)
    assert all(told) and len(told) == 13


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_stops_all_threads(n_jobs):
    found = search(
        Sleeper(fit_s=0.3, breaks=RuntimeError("three")),
        {"level": Categorical([3, 4])},
        n_trials=50,
        n_jobs=n_jobs,
        error_score="raise",
        cv=5,
    )
    started = time.monotonic()
    with pytest.raises(RuntimeError, match="three"):
        found.fit(X, y)
    n_fits = len(Sleeper.fitted)
    time.sleep(0.4)
    assert len(Sleeper.fitted) == n_fits, "nothing goes on behind the error"
    assert time.monotonic() - started < 20


def test_an_error_stops_a_network_beside_it_within_its_epochs():
    def network(shape, n_outputs):
        raise AssertionError("never built")

    found = search(
        KerasClassifier(epochs=20_000),
        {"model": Categorical([network, None])},
        n_trials=8,
        n_jobs=2,
        error_score="raise",
    )
    started = time.monotonic()
    with pytest.raises(AssertionError, match="never built"):
        found.fit(X, y)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupt_keeps_the_best_so_far(n_jobs):
    class Interrupted(Sleeper):
        def fit(self, X, y):
            fits.append(self.level)
            if len(fits) == 14:
                raise KeyboardInterrupt
            return super().fit(X, y)

    fits: list = []

    found = search(Interrupted(), n_trials=30, n_jobs=n_jobs).fit(X, y)
    assert found.stopped_ == "interrupted" and 1 <= len(found.trials_) < 5
    assert found.best_score_ == np.nanmax(found.cv_results_["mean_test_score"])
    assert hasattr(found, "best_estimator_")


def test_an_interrupt_before_anything_is_finished_is_one():
    class Interrupted(Sleeper):
        def fit(self, X, y):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(Interrupted()).fit(X, y)
