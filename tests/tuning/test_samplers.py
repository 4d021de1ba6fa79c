from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import optuna
import pytest

from autokit.testing.tuning import Bowl, ScoredBy, bowl
from autokit.tuning import Categorical, Float, Int, TunerSearchCV
from autokit.tuning.novelty import NewPoints, WithPruned
from autokit.tuning.reading import read_space
from autokit.tuning.samplers import TUNERS, Task, derived_seed, make_tuner
from autokit.tuning.search import Search

FINITE = {"x": Float(0, 1, step=0.25), "y": Categorical([0.0, 0.5, 1.0])}
GRID = {"x": [0.0, 0.5, 1.0], "y": [0.0, 1.0]}
OWN = ["cmaes", "nsga2", "tpe"]


def search(tuner, n_trials=20, space=FINITE, seed=0, score=bowl):
    space = read_space(space, Bowl())
    maker = make_tuner(tuner, Task(space, n_trials, 1, None, seed))
    search = Search(space, ScoredBy(score), maker, n_trials=n_trials)
    search.run()
    return search


def points(search):
    return [tuple(trial.values.items()) for trial in search.trials]


def sampler(name, *arguments, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return getattr(optuna.samplers, name)(*arguments, **settings)


@pytest.mark.parametrize("name", OWN)
def test_every_point_of_a_finite_space_is_tried_once(name):
    found = search(name, n_trials=40)
    assert len(set(points(found))) == len(points(found)) == 15
    assert found.stopped == "exhausted"


@pytest.mark.parametrize("name", OWN)
def test_no_point_comes_twice_in_a_large_space(name):
    space = {"x": Categorical(list(range(12))), "y": Categorical(list(range(12)))}
    found = search(name, n_trials=60, space=space)
    assert len(set(points(found))) == 60


def test_points_that_chance_hardly_finds_are_found_too():
    space = read_space([{"x": [0.0]}, {"x": [1.0], "y": Int(1, 50)}], Bowl())
    found = search("tpe", n_trials=99, space=space, score=lambda p: -p["x"])
    assert found.stopped == "exhausted"
    assert len(found.trials) == space.n_points == 51


def test_a_point_without_numbers_may_come_again_where_others_are_infinite():
    space = read_space([{"x": [0.0]}, {"x": [1.0], "y": Float(0, 1)}], Bowl())
    found = search("tpe", n_trials=12, space=space, score=lambda p: -p["x"])
    assert len(found.trials) == 12
    assert points(found).count((("space", 0), ("x (0)", 0.0))) == 1


@pytest.mark.parametrize(
    ("make", "n_points"),
    [
        (lambda: sampler("GridSampler", GRID), 6),
        (lambda: sampler("BruteForceSampler"), 15),
    ],
)
def test_a_sampler_without_further_points_ends_the_search(make, n_points):
    found = search(make(), n_trials=40)
    assert found.stopped == "exhausted"
    assert len(set(points(found))) == len(points(found)) == n_points


def test_a_finished_grid_is_not_begun_again(tmp_path):
    settings = {"n_trials": 40, "cv": 2, "pruner": None, "storage": tmp_path / "s", "refit": False}
    for _ in range(2):
        tuner = sampler("GridSampler", GRID, seed=0)
        grid = TunerSearchCV(Bowl(), FINITE, tuner=tuner, random_state=0, **settings)
        assert len(grid.fit(np.zeros((6, 1))).trials_) == 6
        assert grid.stopped_ == "exhausted"


@pytest.mark.parametrize("name", ["RandomSampler", "TPESampler", "QMCSampler", "NSGAIIISampler"])
def test_an_instance_stays_as_it_was(name):
    tuner = sampler(name, seed=3)
    space = {"x": Float(0, 1), "y": Float(0, 1)}
    first, again = (points(search(tuner, space=space)) for _ in range(2))
    assert first == again


def test_named_samplers_are_made_anew_for_every_trial():
    maker = make_tuner("tpe", Task(read_space(FINITE, Bowl()), 10, 1, None, 0))
    assert isinstance(maker(3), NewPoints)
    assert maker(3) is not maker(3)
    assert derived_seed(0, 3) == derived_seed(0, 3) != derived_seed(3, 0)


def test_samplers_hear_of_pruned_trials():
    study = optuna.create_study(direction="maximize")
    states = optuna.trial.TrialState
    for values, score in (({1: 0.4, 3: 0.7}, None), ({1: 0.1}, None), ({1: 0.4}, 0.5), ({}, None)):
        trial = study.ask()
        for step, value in values.items():
            trial.report(value, step)
        study.tell(trial, score, state=states.PRUNED if score is None else states.COMPLETE)
    seen = WithPruned(study)
    assert seen.directions == study.directions
    complete = seen.get_trials(states=[states.COMPLETE])
    assert [(t.number, t.value) for t in complete] == [(0, 0.7), (1, 0.5), (2, 0.5)]
    assert [t.state for t in study.trials].count(states.PRUNED) == 3
    assert len(seen._get_trials(deepcopy=False, states=None, use_cache=True)) == 4


@pytest.mark.parametrize("name", ["cmaes", "nsga2"])
def test_a_search_with_pruned_trials_learns(name):
    found = TunerSearchCV(
        Bowl(), {"x": Float(0, 1), "y": Float(0, 1)}, tuner=name, n_trials=60, cv=3, random_state=0
    ).fit(np.zeros((6, 1)))
    scores = np.array([np.mean([s["score"] for s in t.scores]) for t in found.trials_])
    assert "pruned" in found.cv_results_["status"]
    assert np.median(scores[-15:]) > np.median(scores[:15])


def test_gp_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else find(name, *a)
    )
    with pytest.raises(ImportError, match=r"tuner='gp' needs torch.*autokit\[gp\]"):
        search("gp")


@pytest.mark.parametrize("wrong", ["tpee", 5, None])
def test_an_unknown_tuner_lists_the_known(wrong):
    with pytest.raises(ValueError, match="'tuner' parameter must be one of 'bayesian', 'cmaes'"):
        search(wrong)
    assert sorted(TUNERS) == list(TUNERS)


def test_several_scores_are_searched_for_together():
    def low(estimator, X, y=None):
        return -estimator.x

    def high(estimator, X, y=None):
        return estimator.x + estimator.y

    found = TunerSearchCV(
        Bowl(),
        {"x": Float(0, 1), "y": Float(0, 1)},
        tuner="nsga2",
        scoring={"low": low, "high": high},
        refit="high",
        n_trials=60,
        cv=2,
        random_state=0,
    ).fit(np.zeros((6, 1)))
    results = found.cv_results_
    assert found.objectives_ == ("low", "high")
    assert found.best_index_ == results["mean_test_high"].argmax()
    # on the front y is as large as it gets; random points have 0.5 on average
    ys = np.array([found.trials_[i].values["y"] for i in found.pareto_front_])
    assert ys.mean() > 0.7
