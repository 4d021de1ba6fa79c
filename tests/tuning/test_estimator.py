"""TunerSearchCV beside scikit-learn's own searches, and what it adds."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import autokit
from autokit import KerasClassifier, KerasRegressor, TunerSearchCV
from autokit.training import programs
from autokit.tuning import Categorical, Float, Int

X, y = load_iris(return_X_y=True)
GRID = {"max_depth": [1, 2, 3], "criterion": ["gini", "entropy"]}


def tree_search(**settings):
    settings = {"tuner": "grid", "n_trials": None, "cv": 3, "pruner": None} | settings
    return TunerSearchCV(DecisionTreeClassifier(random_state=0), GRID, **settings)


def keras_search(space, estimator=None, **settings):
    estimator = estimator or KerasClassifier(epochs=4, batch_size=16)
    settings = {"n_trials": 6, "cv": 2, "random_state": 0} | settings
    return TunerSearchCV(estimator, space, **settings)


def by_params(results, key):
    return {
        tuple(sorted(p.items())): v for p, v in zip(results["params"], results[key], strict=True)
    }


class Stubborn(ClassifierMixin, BaseEstimator):
    """Fails for every odd `level`."""

    def __init__(self, level=0):
        self.level = level

    def fit(self, X, y):
        if self.level % 2:
            raise RuntimeError(f"level {self.level} is odd")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[self.level % len(self.classes_)])


class CountingSplit(ShuffleSplit):
    calls = 0

    def split(self, X, y=None, groups=None):
        type(self).calls += 1
        return super().split(X, y, groups)


def test_a_grid_gives_the_table_of_grid_search():
    ours = tree_search(return_train_score=True).fit(X, y)
    theirs = GridSearchCV(
        DecisionTreeClassifier(random_state=0), GRID, cv=3, return_train_score=True
    ).fit(X, y)
    assert set(theirs.cv_results_) - set(ours.cv_results_) == set()
    assert set(ours.cv_results_) - set(theirs.cv_results_) == {"status", "epochs"}
    for key in theirs.cv_results_:
        if "score" in key and "time" not in key:
            assert by_params(ours.cv_results_, key) == pytest.approx(
                by_params(theirs.cv_results_, key)
            )
    assert ours.best_score_ == theirs.best_score_
    assert ours.n_splits_ == theirs.n_splits_ == 3
    assert ours.stopped_ == "exhausted"
    frame = pd.DataFrame(ours.cv_results_)
    assert len(frame) == 6
    assert frame["param_max_depth"].tolist() == [p["max_depth"] for p in frame["params"]]


def test_several_metrics_and_a_refit_by_one():
    search = tree_search(scoring=["accuracy", "f1_macro"], refit="f1_macro").fit(X, y)
    theirs = GridSearchCV(
        DecisionTreeClassifier(random_state=0),
        GRID,
        cv=3,
        scoring=["accuracy", "f1_macro"],
        refit="f1_macro",
    ).fit(X, y)
    for metric in ("accuracy", "f1_macro"):
        key = f"mean_test_{metric}"
        assert by_params(search.cv_results_, key) == pytest.approx(
            by_params(theirs.cv_results_, key)
        )
    assert search.best_score_ == theirs.best_score_
    assert search.score(X, y) == theirs.score(X, y)
    with pytest.raises(ValueError, match="refit must be set to a scorer key"):
        tree_search(scoring=["accuracy", "f1_macro"]).fit(X, y)


def test_a_refit_by_a_rule_of_the_users():
    def shallowest(results):
        return int(np.argmin(results["param_max_depth"]))

    search = tree_search(refit=shallowest).fit(X, y)
    assert search.best_params_["max_depth"] == 1
    assert not hasattr(search, "best_score_")
    assert search.best_estimator_.get_depth() == 1


def test_without_a_refit_there_is_no_estimator():
    search = tree_search(refit=False).fit(X, y)
    assert not hasattr(search, "best_estimator_")
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        search.predict(X)
    assert search.best_params_ in search.cv_results_["params"]


def test_a_metric_that_does_not_exist():
    with pytest.raises(
        ValueError, match="'scoring' parameter must be one of.*Did you mean 'accuracy'"
    ):
        tree_search(scoring="acuracy").fit(X, y)


def test_a_scorer_that_gives_no_number():
    with pytest.raises(ValueError, match="'scoring' parameter must give numbers.*str"):
        tree_search(scoring=lambda e, X, y: "good").fit(X, y)


def test_a_scorer_of_the_users_with_several_values():
    def both(estimator, X, y):
        hits = float(np.mean(estimator.predict(X) == y))
        return {"hits": hits, "misses": 1 - hits}

    search = tree_search(scoring=both, refit="hits").fit(X, y)
    table = search.cv_results_
    np.testing.assert_allclose(table["mean_test_hits"], 1 - table["mean_test_misses"])
    assert search.best_score_ == table["mean_test_hits"].max()
    with pytest.raises(ValueError, match="gives hits, misses: set 'refit'"):
        tree_search(scoring=both).fit(X, y)


def test_folds_are_made_once():
    CountingSplit.calls = 0
    search = tree_search(cv=CountingSplit(3, test_size=0.3)).fit(X, y)
    assert CountingSplit.calls == 1
    table = search.cv_results_
    same = [i for i, p in enumerate(table["params"]) if p["max_depth"] == 1]
    # stumps of either criterion cut alike: the same folds give the same scores
    for k in range(3):
        assert np.ptp(table[f"split{k}_test_score"][same]) < 0.4


def test_groups_reach_the_splitter():
    groups = np.arange(len(y)) % 5
    search = tree_search(cv=GroupKFold(5)).fit(X, y, groups=groups)
    assert search.n_splits_ == 5


def test_nested_in_cross_validation():
    inner = TunerSearchCV(
        LogisticRegression(max_iter=300),
        {"C": Float(1e-3, 1e2, log=True)},
        n_trials=4,
        cv=2,
        random_state=0,
    )
    scores = cross_val_score(inner, X, y, cv=3)
    assert scores.mean() > 0.9


def test_sample_weight_is_routed():
    weight = np.where(y == 2, 1e-9, 1.0)
    space = {"C": Float(0.1, 10, log=True)}
    plain = TunerSearchCV(LogisticRegression(), space, n_trials=2, cv=2, random_state=0)
    assert 2 not in clone(plain).fit(X, y, sample_weight=weight).predict(X)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = clone(plain).set_params(
            estimator=LogisticRegression().set_fit_request(sample_weight=True),
            scoring=make_scorer(accuracy_score).set_score_request(sample_weight=True),
        )
        routed.fit(X, y, sample_weight=weight)
        assert 2 not in routed.predict(X)
        assert routed.best_score_ > 0.99  # rows of the third class hardly count in the score


def test_without_a_target():
    search = TunerSearchCV(
        KMeans(n_init=1, random_state=0), {"n_clusters": Int(2, 4)}, tuner="grid", cv=2
    ).fit(X)
    assert search.best_params_ == {"n_clusters": 4}


def test_steps_of_a_pipeline_that_are_searched_themselves():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    space = {
        "logisticregression": Categorical([DummyClassifier(), LogisticRegression(max_iter=300)]),
        "standardscaler": Categorical(["passthrough", StandardScaler()]),
    }
    search = TunerSearchCV(pipeline, space, tuner="grid", n_trials=None, cv=3).fit(X, y)
    assert len(search.trials_) == 4
    assert isinstance(search.best_estimator_[-1], LogisticRegression)
    # what was searched was cloned, not fitted
    assert not hasattr(search.best_params_["logisticregression"], "coef_")


def test_some_trials_fail():
    search = TunerSearchCV(Stubborn(), {"level": [0, 1, 2, 3]}, tuner="grid", cv=2)
    search.fit(X, y)
    statuses = dict(
        zip(search.cv_results_["param_level"], search.cv_results_["status"], strict=True)
    )
    assert statuses[1] == statuses[3] == "failed"
    failed = search.cv_results_["status"] == "failed"
    assert np.isnan(search.cv_results_["mean_test_score"][failed]).all()
    assert search.best_params_["level"] % 2 == 0
    zero = clone(search).set_params(error_score=0.0).fit(X, y)
    assert (zero.cv_results_["mean_test_score"][zero.cv_results_["status"] == "failed"] == 0).all()
    with pytest.raises(RuntimeError, match="is odd"):
        clone(search).set_params(error_score="raise").fit(X, y)


def test_all_trials_fail():
    search = TunerSearchCV(Stubborn(), {"level": [1, 3]}, tuner="grid", cv=2)
    with pytest.raises(
        ValueError, match="All 2 trials failed.*RuntimeError: level 1 is odd"
    ) as info:
        search.fit(X, y)
    assert isinstance(info.value.__cause__, RuntimeError)
    assert not hasattr(search, "trials_")


def test_a_network_in_a_pipeline_is_pruned_by_epoch():
    pipeline = make_pipeline(StandardScaler(), KerasClassifier(epochs=6, batch_size=16))
    space = {"kerasclassifier__learning_rate": Float(1e-6, 1e-1, log=True)}
    search = keras_search(space, pipeline, n_trials=16).fit(X, y)
    table = search.cv_results_
    assert (table["epochs"][table["status"] == "complete"] == 12).all()
    assert (table["epochs"][table["status"] == "pruned"] < 12).all()
    assert (table["epochs"] < 6).any(), "no fold was ended before its time"
    assert search.score(X, y) > 0.8


def test_a_seed_gives_the_same_table():
    space = {"learning_rate": Float(1e-3, 1e-1, log=True), "batch_size": [8, 16]}
    first, second, other = (keras_search(space, random_state=s).fit(X, y) for s in (1, 1, 2))
    scores = [s.cv_results_["mean_test_score"] for s in (first, second)]
    np.testing.assert_array_equal(*scores)
    assert first.cv_results_["params"] == second.cv_results_["params"]
    assert first.cv_results_["params"] != other.cv_results_["params"]
    assert first.best_estimator_.random_state is not None
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


def test_trials_of_one_architecture_share_their_compiled_training(monkeypatch):
    programs.clear_programs()
    made = []
    program = programs.Program

    def counted(*args, **kwargs):
        made.append(args)
        return program(*args, **kwargs)

    monkeypatch.setattr(programs, "Program", counted)
    space = {"learning_rate": Float(1e-3, 1e-1, log=True), "batch_size": [8, 16, 32]}
    keras_search(space).fit(X, y)
    assert len(made) == 1


def test_regression_with_folds_of_unequal_difficulty():
    Xd, yd = load_diabetes(return_X_y=True)
    search = TunerSearchCV(
        KerasRegressor(epochs=3),
        {"learning_rate": [1e-4, 1e-2]},
        tuner="grid",
        cv=2,
        random_state=0,
    ).fit(Xd, yd)
    assert search.best_params_ == {"learning_rate": 1e-2}
    ridge = TunerSearchCV(
        Ridge(),
        {"alpha": Float(1e-3, 1e3, log=True)},
        scoring="neg_mean_absolute_error",
        n_trials=5,
        random_state=0,
    ).fit(Xd, yd)
    assert ridge.best_score_ < 0


def test_what_is_found_is_saved_exported_and_pickled(tmp_path):
    search = keras_search({"learning_rate": Float(1e-3, 1e-1, log=True)}, n_trials=2).fit(X, y)
    expected = search.predict_proba(X)
    for copied in (
        autokit.load(autokit.save(search, tmp_path / "search.autokit")),
        pickle.loads(pickle.dumps(search)),
    ):
        np.testing.assert_array_equal(copied.predict_proba(X), expected)
        assert copied.best_params_ == search.best_params_
        np.testing.assert_array_equal(
            copied.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
        )
    report = autokit.export_tflite(search, tmp_path / "model.tflite", representative_data=X)
    assert report.agreement == 1.0
    file = autokit.TFLiteModel(tmp_path / "model.tflite")
    np.testing.assert_allclose(file.predict_proba(X), expected, atol=1e-5)


def test_the_estimator_and_the_space_stay_as_they_are():
    estimator = KerasClassifier(epochs=2)
    space = {"learning_rate": [1e-2, 1e-3]}
    search = keras_search(space, estimator, n_trials=2).fit(X, y)
    assert estimator.random_state is None and not hasattr(estimator, "model_")
    assert search.space is space and search.estimator is estimator
    assert clone(search).get_params()["space"] == space


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_trials": 0}, "The 'n_trials' parameter of TunerSearchCV must be"),
        ({"time_budget_s": -1}, "The 'time_budget_s' parameter of TunerSearchCV must be"),
        ({"tuner": "tp"}, "The 'tuner' parameter must be one of .*Did you mean 'tpe'"),
        ({"pruner": "medain"}, "The 'pruner' parameter must be one of .*Did you mean 'median'"),
        ({"cv": 1}, "The 'cv' parameter of TunerSearchCV must be an int in the range"),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(ValueError, match=message):
        tree_search(**settings).fit(X, y)


def test_a_search_that_would_never_end():
    space = {"C": Float(0.1, 1.0)}
    endless = TunerSearchCV(LogisticRegression(), space, n_trials=None)
    with pytest.raises(ValueError, match="never end.*Set 'n_trials' or 'time_budget_s'"):
        endless.fit(X, y)
    finite = TunerSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, n_trials=None, random_state=0)
    assert finite.fit(X, y).stopped_ == "exhausted"
