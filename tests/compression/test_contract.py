"""Every estimator of the package through every compression method."""

from __future__ import annotations

import functools

import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autokit.compression import CompressionWarning, Prune
from autokit.testing.compression import METHODS, check_compression, make
from autokit.testing.estimators import TINY, tiny


@functools.cache
def fitted(name):
    estimator = tiny(name)
    X, y = (load_iris if is_classifier(estimator) else load_diabetes)(return_X_y=True)
    return estimator.fit(X, y), X, y


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", TINY)
def test_contract(name, method):
    check_compression(*fitted(name), method)


@pytest.mark.parametrize("name", ["KerasClassifier", "NASClassifier"])
def test_as_a_training_option_in_a_pipeline_and_a_search(name):
    X, y = load_iris(return_X_y=True)
    pruned = make("Prune").set_params(epochs=1)
    pipeline = make_pipeline(StandardScaler(), tiny(name, epochs=3, compression=pruned))
    step = pipeline.steps[-1][0]
    search = GridSearchCV(pipeline, {f"{step}__compression__sparsity": [0.3, 0.6]}, cv=2)
    search.fit(X, y)
    best = search.best_estimator_[-1]
    wanted = search.best_params_[f"{step}__compression__sparsity"]
    assert best.compression_report_.mean_sparsity == pytest.approx(wanted, abs=0.02)
    assert not hasattr(clone(best), "compression_report_")


def test_a_fit_without_compression_forgets_the_former_report():
    estimator, X, y = fitted("KerasClassifier")
    compressed = make("Prune").compress(estimator, X, y)
    compressed.set_params(epochs=1).fit(X, y)
    assert not hasattr(compressed, "compression_report_")
    assert not hasattr(compressed, "held_")


def test_the_path_of_several_compressions_is_told():
    estimator, X, y = fitted("KerasClassifier")
    twice = make("Cluster").compress(make("Prune").compress(estimator, X, y), X, y)
    assert [r.method for r in twice.compression_report_.path] == ["Prune"]
    assert "Cluster: accuracy" in str(twice.compression_report_)


def test_a_warning_tells_what_it_cost():
    estimator, X, y = fitted("KerasClassifier")
    method = Prune(sparsity=0.97, epochs=0 or 1, max_score_drop=0.0, random_state=0)
    method.learning_rate = 1e-9
    with pytest.warns(CompressionWarning, match="Prune cost 0.* more than max_score_drop=0"):
        method.compress(estimator, X, y)
