from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from autokit.nas.strategies.gaussian_process import (
    GaussianProcess,
    _negative_log_posterior,
    _prior,
)


def _data(n=25, d=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, size=(n, d)).astype(float)
    y = 2 * X[:, 0] - X[:, 1] * X[:, 2] + 0.05 * rng.normal(size=n)
    return X, (y - y.mean()) / y.std()


def test_gradient_against_finite_differences():
    X, y = _data()
    pairs = np.triu_indices(len(X), 1)
    arguments = np.abs(X[pairs[0]] - X[pairs[1]]), pairs, y
    start = _prior(X.shape[1])[0] + np.linspace(-0.5, 0.5, X.shape[1] + 2)
    error = check_grad(
        lambda p: _negative_log_posterior(p, *arguments)[0],
        lambda p: _negative_log_posterior(p, *arguments)[1],
        start,
    )
    assert error < 1e-4 * np.linalg.norm(_negative_log_posterior(start, *arguments)[1])


def test_prediction_is_that_of_scikit_learn():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import PairwiseKernel

    X, y = _data()
    Z = _data(seed=1)[0]
    ours = GaussianProcess(growth=np.inf)  # the weights stay at the prior's
    ours.fit(X, y)
    gamma = 3.0 / X.shape[1]
    theirs = GaussianProcessRegressor(
        PairwiseKernel(gamma, metric="laplacian"), alpha=0.05 + 1e-6, optimizer=None
    ).fit(X, y - y.mean())
    mean, deviation = theirs.predict(Z, return_std=True)
    found = ours.predict(Z)
    np.testing.assert_allclose(found[0], mean + y.mean(), atol=1e-10)
    np.testing.assert_allclose(found[1], deviation, atol=1e-6)


def test_fitted_weights_tell_what_matters():
    X, y = _data(n=60)
    model = GaussianProcess()
    model.fit(X, y)
    assert model._weights[0] > 2 * model._weights[3:].max()
    Z, truth = _data(n=40, seed=2)
    assert np.corrcoef(model.predict(Z)[0], truth)[0, 1] > 0.95


def test_weights_are_kept_until_there_are_more_rows():
    X, y = _data(n=40)
    model = GaussianProcess(growth=1.5)
    model.fit(X[:20], y[:20])
    weights = model._weights
    model.fit(X[:25], y[:25])
    np.testing.assert_array_equal(model._weights, weights)
    model.fit(X, y)
    assert (model._weights != weights).any()


def test_certain_where_it_has_seen_and_not_elsewhere():
    X, y = _data()
    model = GaussianProcess()
    model.fit(X, y)
    assert model.predict(X)[1].max() < model.predict(X + 5.0)[1].min()
    assert model.predict(X + 50.0)[0] == pytest.approx(y.mean(), abs=1e-6)
