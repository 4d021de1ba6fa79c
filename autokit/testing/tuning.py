"""The contract of every tuner of hyperparameters, as tests to reuse.

The package's own are tested by name, with the settings in `KNOWN`. Any sampler of Optuna or oracle
of keras-tuner inherits the suite::

    class TestMySampler(TunerContract):
        proposes_again = True

        def make_tuner(self):
            return MySampler(seed=0)

Nothing is trained: a trial's score is a function of its parameters.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from autokit.tuning import Categorical, Float, Int, TunerSearchCV
from autokit.tuning.dimensions import Dimension
from autokit.tuning.hyperband import EPOCHS, sets_epochs
from autokit.tuning.samplers import Task, make_tuner
from autokit.tuning.search import Search, SearchFailed
from autokit.tuning.space import Entry, Space, distribution, entries_of, plain_values
from autokit.tuning.storage import TuningStorage
from autokit.tuning.trial import COMPLETE, FAILED, Trial

# Name of a tuner -> what is different about it
KNOWN: dict[str, dict[str, Any]] = {
    "bayesian": {"n_trials": 12, "n_run": 20},  # it takes its time over a proposal
    "cmaes": {"n_random": 1},
    "gp": {"n_trials": 24, "n_run": 14},
    "grid": {"learns": False, "is_random": False, "n_random": 10, "n_seeds": 1},
    "hyperband": {"learns": False, "proposes_again": True},
    "random": {"learns": False},
}

DIMENSIONS: dict[str, Dimension] = {
    "rate": Float(1e-4, 1, log=True),
    "share": Float(0.1, 0.9, step=0.1),
    "width": Int(4, 64, step=4),
    "depth": Int(1, 100, log=True),
    "kind": Categorical(["a", "b", None]),
    "fixed": Categorical([7]),
    "momentum": Float(0, 1, when={"kind": "b"}),
    "n_layers": Int(1, 2, when={"kind": ["a", "b"]}),
    "second": Categorical([True, False], when={"n_layers": 2}),
}
MAX_EPOCHS = 9
_RUNS: dict[tuple, list[Trial]] = {}


class Bowl(BaseEstimator):
    """An estimator that fits nothing; its score is highest at one point.

    Parameters
    ----------
    x, y : float, default=0.0
    """

    def __init__(self, x: float = 0.0, y: float = 0.0):
        self.x, self.y = x, y

    def fit(self, X, y=None):
        """Do nothing."""
        return self

    def score(self, X, y=None) -> float:
        """``-(x - 0.3)^2 - (y - 0.7)^2``, at most 0."""
        return bowl({"x": self.x, "y": self.y})


def bowl(parameters: Mapping[str, Any]) -> float:
    """``-(x - 0.3)^2 - (y - 0.7)^2``."""
    return -((parameters["x"] - 0.3) ** 2) - (parameters["y"] - 0.7) ** 2


@dataclass
class ScoredBy:
    """An evaluator whose trials train nothing.

    Parameters
    ----------
    score : callable
        ``parameters -> float``; what it raises is the trial's failure.
    """

    score: Callable[[Mapping[str, Any]], float]
    folds: tuple = (None, None)
    first_error: Exception | None = None

    def evaluate(self, values, parameters, *_, **__) -> Trial:
        """The trial, with one score on every fold."""
        try:
            scores = ({"score": float(self.score(parameters))},) * len(self.folds)
        except Exception as failure:
            self.first_error = self.first_error or failure
            return Trial(-1, dict(values), FAILED, error=f"{type(failure).__name__}: {failure}")
        times = (0.0,) * len(self.folds)
        return Trial(-1, dict(values), COMPLETE, scores, fit_times=times, score_times=times)


class TunerContract:
    """What every tuner must keep. Set `make_tuner`.

    Attributes
    ----------
    learns : bool
        Whether later trials are better than the first.
    is_random : bool
        Whether another seed gives other trials; an instance has a seed of its own.
    proposes_again : bool
        Whether a point may come again while others were not tried.
    resumes : bool
        Whether a search that was interrupted goes on as if it had not been.
    n_random : int
        Trials of a search that are drawn at random, the first ones.
    n_seeds : int
        Searches of which these are looked at.
    n_trials : int
        Of the search that learns.
    n_run : int
        Trials of the search over all kinds of dimensions.
    """

    learns = True
    is_random = True
    proposes_again = False
    resumes = True
    n_random = 3
    n_seeds = 40
    n_trials = 60
    n_run = 30

    def make_tuner(self) -> Any:
        """A name, or a new instance."""
        raise NotImplementedError

    def test_stays_in_bounds_and_on_the_steps(self):
        space = self._space(DIMENSIONS)
        for trial in self._run():
            for entry in space:
                if entry.name in trial.values:
                    value, known = trial.values[entry.name], distribution(entry.dimension)
                    assert known._contains(known.to_internal_repr(value))
                    if not isinstance(entry.dimension, Float) or entry.dimension.step:
                        assert value in plain_values(entry.dimension)
                        assert type(value) in map(type, plain_values(entry.dimension))

    def test_every_kind_of_value_comes_up(self):
        trials = self._run()
        for name, dimension in DIMENSIONS.items():
            seen = {trial.values[name] for trial in trials if name in trial.values}
            if isinstance(dimension, Categorical) and self.is_random:
                assert seen == set(dimension.labels)

    def test_conditions_are_respected(self):
        space = self._space(DIMENSIONS)
        for trial in self._run():
            active = {entry.name for entry in space if entry.is_active(trial.values)}
            assert set(trial.values) == active

    def test_log_scale_is_uniform_in_the_logarithm(self):
        from scipy.stats import kstest

        low, high = 1e-5, 10.0
        space = {"rate": Float(low, high, log=True)}
        values = [
            trial.values["rate"]
            for seed in range(self.n_seeds)
            for trial in self._search(space, self.n_random, lambda p: 0.0, seed=seed)
        ]
        places = np.log(np.array(values) / low) / np.log(high / low)
        assert kstest(places, "uniform").pvalue > 0.01

    def test_a_seed_repeats_and_another_differs(self):
        first = _values(self._run())
        assert first == _values(self._search(DIMENSIONS, len(first), _pleasant))
        if self.is_random and isinstance(self.make_tuner(), str):
            assert first != _values(self._search(DIMENSIONS, len(first), _pleasant, seed=1))

    def test_goes_on_after_a_pause_as_without_one(self):
        whole = self._run()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "search"
            for n in (4, 5, 12):
                trials = self._search(DIMENSIONS, n, _pleasant, path=path)
                assert len(trials) == n
        if self.resumes:
            assert _values(trials) == _values(whole[:12])
        else:
            assert _values(trials[:4]) == _values(whole[:4])
            assert not any(trial.values in _values(trials[:4]) for trial in trials[4:])

    def test_does_not_try_a_point_twice_and_ends_with_the_space(self):
        space = {"n": Int(1, 3), "kind": Categorical(["a", "b"]), "fixed": Categorical([7])}
        if self.proposes_again:
            return
        trials = self._search(space, 40, lambda p: -p["n"])
        points = {tuple(trial.values.items()) for trial in trials}
        assert len(trials) == len(points) <= 6

    def test_learns_where_the_best_is(self):
        space = {"x": Float(0, 1), "y": Float(0, 1)}
        trials = self._search(space, self.n_trials, bowl)
        scores = np.array([trial.mean("score") for trial in trials])
        quarter = len(scores) // 4
        assert scores.max() > np.median(scores[:quarter])
        if self.learns:
            assert np.median(scores[-quarter:]) > np.median(scores[:quarter])

    def test_failing_trials_do_not_stop_it(self):
        def score(parameters):
            if parameters["kind"] == "a":
                raise RuntimeError("kind a is broken")
            return _pleasant(parameters)

        trials = self._search(DIMENSIONS, 15, score)
        assert len(trials) == 15
        for trial in trials:
            assert (trial.status == FAILED) == (trial.values["kind"] == "a")
            assert trial.error in (None, "RuntimeError: kind a is broken")

    def test_when_all_trials_fail_the_first_cause_is_told(self):
        def score(parameters):
            raise RuntimeError("the disk is full")

        try:
            self._search(DIMENSIONS, 4, score)
        except SearchFailed as failure:
            assert "the disk is full" in str(failure)
            assert isinstance(failure.__cause__, RuntimeError)
        else:
            raise AssertionError("no error, though every trial failed")

    def test_a_search_finds_the_best_of_its_table(self):
        tuner = self.make_tuner()
        if sets_epochs(tuner):  # of estimators that count epochs
            return
        space = {"x": Float(0, 1, step=0.1), "y": Float(0, 1)}
        search = TunerSearchCV(
            Bowl(), space, tuner=tuner, n_trials=7, cv=2, pruner=None, random_state=0
        ).fit(np.zeros((8, 1)))
        scores = search.cv_results_["mean_test_score"]
        assert search.best_score_ == scores.max()
        assert search.best_params_ == search.cv_results_["params"][scores.argmax()]
        assert math.isclose(bowl(search.best_params_), search.best_score_)

    def _space(self, dimensions: Mapping[str, Dimension]) -> Space:
        entries = entries_of({name: (name, how, None) for name, how in dimensions.items()})
        if sets_epochs(self.make_tuner()):
            entries.append(Entry(EPOCHS, EPOCHS, Int(1, MAX_EPOCHS)))
        return Space(tuple(entries))

    def _search(self, dimensions, n_trials, score, seed=0, path=None) -> list[Trial]:
        space, tuner = self._space(dimensions), self.make_tuner()
        storage = None if path is None else TuningStorage(path, {"space": space.describe()})
        epochs = MAX_EPOCHS if sets_epochs(tuner) else None
        task = Task(space, 50, 1, epochs, seed, path)
        maker = make_tuner(tuner, task)
        search = Search(space, ScoredBy(score), maker, n_trials=n_trials, storage=storage)
        try:
            return list(search.run())
        finally:
            if storage is not None:
                storage.close()

    def _run(self) -> list[Trial]:
        """Trials of a search over all kinds of dimensions; run once, and only to be looked at."""
        tuner = self.make_tuner()
        key = (type(self), tuner if isinstance(tuner, str) else "")
        if key not in _RUNS:
            _RUNS[key] = self._search(DIMENSIONS, self.n_run, _pleasant)
        return _RUNS[key]


def _pleasant(parameters: Mapping[str, Any]) -> float:
    return -parameters["share"] - abs(math.log(parameters["rate"] / 0.01)) + parameters["width"]


def _values(trials: list[Trial]) -> list[dict[str, Any]]:
    return [trial.values for trial in trials]
