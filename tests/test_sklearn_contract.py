"""Every public estimator behaves as scikit-learn's tools expect."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from autokit.testing.estimators import (
    TINY,
    expected_failures,
    tiny,
    tiny_estimators,
    tiny_searches,
)

CLASSIFIERS = [name for name in TINY if is_classifier(tiny(name))]


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.mark.filterwarnings("ignore:.* have 1 sample:autokit.meta.FewShotWarning")
@parametrize_with_checks(
    [*tiny_estimators(), *tiny_searches()], expected_failed_checks=expected_failures
)
def test_contract(estimator, check):
    check(estimator)


def test_pipeline_with_column_transformer(iris):
    X, y = iris
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["kind"] = np.where(frame["d"] > 1, "wide", "narrow")
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), list("abcd")), ("texts", OneHotEncoder(), ["kind"])]
    )
    pipeline = make_pipeline(columns, tiny("KerasClassifier", epochs=30))
    assert cross_val_score(pipeline, frame, y, cv=3).mean() > 0.85


def test_grid_search_in_two_processes(iris):
    X, y = iris
    search = GridSearchCV(
        tiny("KerasClassifier"), {"learning_rate": [1e-6, 0.02]}, cv=2, n_jobs=2
    ).fit(X, y)
    assert search.best_params_ == {"learning_rate": 0.02}
    assert search.best_estimator_.predict(X[:3]).shape == (3,)


def test_grid_search_over_strategies(iris):
    X, y = iris
    grid = {"strategy": ["random", "evolution", "local_search"]}
    search = GridSearchCV(tiny("NASClassifier", epochs=3), grid, cv=2, n_jobs=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 3
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_stacking(iris, name):
    X, y = iris
    stack = StackingClassifier(
        [("deep", tiny(name)), ("linear", LogisticRegression(max_iter=500))], cv=2
    ).fit(X, y)
    assert stack.score(X, y) > 0.9


def test_sample_weight_is_routed(iris):
    X, y = iris
    weight = np.where(y == 2, 1e-6, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        final = tiny("KerasClassifier").set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, final).fit(X, y, sample_weight=weight)
    assert 2 not in pipeline.predict(X)
    assert 2 in clone(pipeline).fit(X, y).predict(X)


def test_encoder_is_a_transformer_with_pandas_output():
    from autokit.preprocessing import TableEncoder

    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0], "city": ["Rome", "Oslo", "Rome"]})
    encoded = TableEncoder().set_output(transform="pandas").fit_transform(frame)
    assert list(encoded.columns) == ["age", "city_Oslo", "city_Rome"]
