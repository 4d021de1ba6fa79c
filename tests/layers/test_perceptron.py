from __future__ import annotations

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris

import autokit
from autokit import KerasClassifier, KerasRegressor
from autokit.layers import Perceptron, mlp
from autokit.training.seeding import seeded


def test_it_builds_the_network_of_its_parameters():
    perceptron = Perceptron(width=5, depth=3, dropout=0.2, activation="gelu", residual=True)
    with seeded(0):
        model = perceptron((4,), 2)
    with seeded(0):
        wanted = mlp((4,), 2, widths=(5, 5, 5), activation="gelu", dropout=0.2, residual=True)
    for mine, other in zip(model.get_weights(), wanted.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_what_builds_the_same_is_equal():
    assert Perceptron(width=5) == clone(Perceptron(width=5)) != Perceptron(width=6)
    assert len({Perceptron(), Perceptron(), Perceptron(depth=1)}) == 2


def test_an_estimator_has_its_parameters():
    estimator = clone(KerasClassifier(model=Perceptron())).set_params(model__width=7)
    X, y = load_iris(return_X_y=True)
    estimator.set_params(epochs=2, random_state=0).fit(X, y)
    assert estimator.model_.layers[1].units == 7
    assert estimator.predict_proba(X).sum(axis=1).min() > 0.999


def test_targets_are_standardised_and_the_file_keeps_it(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    estimator = KerasRegressor(model=Perceptron(width=16, depth=1), epochs=40, random_state=0)
    estimator.fit(X, y * 1e4)
    assert estimator.score(X, y * 1e4) > 0.4
    loaded = autokit.load(autokit.save(estimator, tmp_path / "x.autokit"))
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
    assert loaded.get_params()["model__width"] == 16
