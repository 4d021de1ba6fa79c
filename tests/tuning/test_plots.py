from __future__ import annotations

import importlib.util
import math
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from autokit import tuning
from autokit.tuning import Categorical, Float, Int, TunerSearchCV

PLOTS = ["optimization_history", "param_importances", "parallel_coordinate", "slice"]
X = np.zeros((12, 1))


class Bowl(BaseEstimator):
    def __init__(self, x=0.0, n=1, kind="a", y=0.0):
        self.x, self.n, self.kind, self.y = x, n, kind, y

    def fit(self, X, y=None):
        return self

    def score(self, X, y=None):
        return -((self.x - 0.3) ** 2) - (self.n - 4) ** 2 / 100 - (self.kind == "a") - self.y


def minus_x(estimator, X, y=None):
    return -estimator.x


def plus_x(estimator, X, y=None):
    return estimator.x


def make_search(tuner="tpe", n_trials=12, **settings):
    space = {
        "x": Float(0, 1),
        "n": Int(1, 9),
        "kind": Categorical(["a", "b"]),
        "y": Float(1e-3, 1, log=True, when={"kind": "b"}),
    }
    search = TunerSearchCV(
        Bowl(), space, tuner=tuner, n_trials=n_trials, cv=2, random_state=0, **settings
    )
    return search.fit(X)


@pytest.fixture(scope="module")
def search():
    return make_search(pruner=None)


@pytest.fixture(scope="module")
def front():
    scoring = {"plus": plus_x, "minus": minus_x}
    return make_search("nsga2", scoring=scoring, refit="minus")


@pytest.mark.parametrize("name", PLOTS)
def test_pictures_are_drawn_and_saved(search, name, tmp_path):
    plot = getattr(tuning, f"plot_{name}")
    figure = plot(search, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert figure.axes
    plot(search, str(tmp_path / "picture.svg"))
    assert "<svg" in (tmp_path / "picture.svg").read_text()


@pytest.mark.parametrize("name", PLOTS)
def test_pages_are_interactive(search, name, tmp_path):
    pytest.importorskip("plotly")
    figure = getattr(tuning, f"plot_{name}")(search, tmp_path / "page.html")
    assert "plotly" in type(figure).__module__
    assert "<html>" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_without_plotly_a_page_says_what_to_install(search, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"plotly.*autokit\[plots\]"):
        tuning.plot_slice(search, tmp_path / "page.html")


def test_nothing_stays_behind_in_pyplot(search):
    import matplotlib.pyplot as plt

    style, figures = dict(plt.rcParams), plt.get_fignums()
    tuning.plot_slice(search)
    assert plt.get_fignums() == figures
    assert dict(plt.rcParams) == style


def test_history_shows_every_trial_and_the_best_so_far(search):
    ax = tuning.plot_optimization_history(search).axes[0]
    scores = ax.collections[0].get_offsets()[:, 1]
    np.testing.assert_allclose(scores, search.cv_results_["mean_test_score"])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.maximum.accumulate(scores))


def test_slices_of_asked_parameters(search):
    figure = tuning.plot_slice(search, params=["x", "kind"])
    assert [ax.get_xlabel() for ax in figure.axes[:2]] == ["kind", "x"]
    with pytest.raises(ValueError, match=r"'knd' is not searched; known are .*Did you mean 'kind'"):
        tuning.plot_slice(search, params=["knd"])


def test_importances_repeat_and_leave_out_what_only_some_have(search):
    figures = [tuning.plot_param_importances(search) for _ in range(2)]
    names = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert set(names) == {"x", "n", "kind"}
    widths = [[bar.get_width() for bar in figure.axes[0].patches] for figure in figures]
    assert widths[0] == widths[1]


def test_importances_need_two_trials_of_different_score():
    with pytest.raises(ValueError, match="needs 2 complete trials; the search has 1"):
        tuning.plot_param_importances(make_search(n_trials=1))
    same = TunerSearchCV(Bowl(), {"n": [3, 5]}, cv=2, pruner=None, random_state=0).fit(X)
    with pytest.raises(ValueError, match="the same score"):
        tuning.plot_param_importances(same)


def test_intermediate_values_need_a_pruner(search):
    with pytest.raises(ValueError, match="set 'pruner'"):
        tuning.plot_intermediate_values(search)
    pruned = make_search(pruner="median")
    figure = tuning.plot_intermediate_values(pruned)
    assert len(figure.axes[0].lines) == sum(bool(t.steps) for t in pruned.trials_)


def test_the_front_is_what_no_trial_beats(front):
    scores = np.stack([front.cv_results_[f"mean_test_{m}"] for m in ("plus", "minus")], axis=1)
    beaten = [(np.all(scores >= s, axis=1) & np.any(scores > s, axis=1)).any() for s in scores]
    assert front.objectives_ == ("plus", "minus")
    np.testing.assert_array_equal(front.pareto_front_, np.flatnonzero(~np.array(beaten)))
    assert front.best_score_ == front.cv_results_["mean_test_minus"].max()
    figure = tuning.plot_pareto_front(front)
    assert [figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()] == ["plus", "minus"]


def test_the_metric_of_a_picture_can_be_chosen(front):
    figure = tuning.plot_optimization_history(front, metric="minus")
    assert figure.axes[0].get_ylabel() == "minus"
    with pytest.raises(ValueError, match="'accuracy' was not searched for; known are 'plus'"):
        tuning.plot_slice(front, metric="accuracy")


def test_a_front_needs_two_or_three_metrics(search, front):
    with pytest.raises(ValueError, match="tuner='nsga2'"):
        tuning.plot_pareto_front(search)
    with pytest.raises(ValueError, match="2 or 3 metrics"):
        tuning.plot_pareto_front(front, metrics=["plus"])


def test_the_study_has_every_trial():
    search = make_search(pruner="median", n_trials=20)
    study = search.study_
    assert [t.params for t in study.trials] == [t.values for t in search.trials_]
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    assert [t.state.name for t in study.trials] == [states[t.status] for t in search.trials_]
    assert [tuple(t.intermediate_values.items()) for t in study.trials] == [
        t.steps for t in search.trials_
    ]
    assert math.isclose(study.best_value, search.best_score_)
    assert study.best_trial.number == search.best_index_


def test_a_search_that_is_not_fitted_says_so():
    with pytest.raises(ValueError, match="not fitted"):
        tuning.plot_slice(TunerSearchCV(Bowl(), {"x": [1, 2]}))


def test_pictures_are_imported_when_they_are_asked_for():
    assert "plot_slice" in dir(tuning)
    assert tuning.plot_slice.__module__ in sys.modules
