"""Gaussian process regression over the codes of architectures, small and without dependencies."""

from __future__ import annotations

import numpy as np

JITTER = 1e-6
BOUNDS = (-9.0, 4.0)


class GaussianProcess:
    """Regression with a weight for every element of the code.

    ::

        k(x, y) = a exp(-sum_j w_j |x_j - y_j|)
        mean(z) = m + k(z, X) (K + s I)^-1 (y - m)
        var(z)  = a - k(z, X) (K + s I)^-1 k(X, z)

    On one-hot codes the kernel is a product over the decisions, so it knows interactions of any
    order, and two options of a decision are as far apart as their weights say. The weights, ``a``
    and the noise ``s`` maximise the posterior: marginal likelihood times log-normal priors.

    Parameters
    ----------
    max_iterations : int, default=20
        Of L-BFGS in a fit of the weights.
    growth : float, default=1.1
        The weights are fitted again when there are so many times as many rows; in between only
        the rows change.

    References
    ----------
    Rasmussen, Williams, "Gaussian Processes for Machine Learning", 2006, equations 2.25, 2.26 and
    5.9. The kernel is their Laplace kernel with automatic relevance determination.
    """

    def __init__(self, *, max_iterations: int = 20, growth: float = 1.1):
        self.max_iterations, self.growth = max_iterations, growth
        self._log_parameters: np.ndarray | None = None
        self._n_fitted = 0

    def fit(self, X: np.ndarray, y: np.ndarray) -> None:
        """Take over rows `X` (n, d) of roughly unit range and targets `y` (n,) of unit variance."""
        n, d = X.shape
        if self._log_parameters is None:
            self._log_parameters = _prior(d)[0]
        if n >= self._n_fitted * self.growth:
            self._n_fitted = n
            self._log_parameters = self._most_probable(X, y - y.mean())
        self.condition(X, y)

    def condition(self, X: np.ndarray, y: np.ndarray) -> None:
        """Take over rows with the weights as they are."""
        from scipy.linalg import cho_solve

        *log_weights, log_a, log_noise = self._log_parameters
        self._weights, self._a = np.exp(log_weights), np.exp(log_a)
        self._X, self._mean = X * self._weights, y.mean()
        K = self._kernel(self._X)
        K[np.diag_indices(len(X))] += np.exp(log_noise) + JITTER
        self._L = np.linalg.cholesky(K)
        self._alpha = cho_solve((self._L, True), y - self._mean)

    def predict(self, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation, both (n,), of the noiseless function at rows `Z` (n, d)."""
        from scipy.linalg import solve_triangular

        k = self._kernel(Z * self._weights)
        explained = np.square(solve_triangular(self._L, k.T, lower=True)).sum(axis=0)
        return self._mean + k @ self._alpha, np.sqrt(np.maximum(self._a - explained, 1e-12))

    def _kernel(self, weighted: np.ndarray) -> np.ndarray:
        from scipy.spatial.distance import cdist

        return self._a * np.exp(-cdist(weighted, self._X, "cityblock"))

    def _most_probable(self, X, residual) -> np.ndarray:
        from scipy.optimize import minimize

        pairs = np.triu_indices(len(X), 1)
        distances = np.abs(X[pairs[0]] - X[pairs[1]])  # (pairs, d)
        return minimize(
            _negative_log_posterior,
            self._log_parameters,
            args=(distances, pairs, residual),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.max_iterations},
            bounds=[BOUNDS] * len(self._log_parameters),
        ).x


def _prior(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the log-parameters.

    Two random one-hot codes differ in about a third of their elements: with weights of 3 / d
    their correlation is 1 / e.
    """
    mean = np.append(np.full(d, np.log(3.0 / d)), [0.0, np.log(0.05)])
    return mean, np.append(np.full(d, 1.0), [1.0, 2.0])


def _negative_log_posterior(log_parameters, distances, pairs, residual):
    """The value and the gradient, up to a constant."""
    from scipy.linalg import cho_solve

    n, d = len(residual), distances.shape[1]
    weights, a, noise = np.split(np.exp(log_parameters), [d, d + 1])
    k = a * np.exp(-(distances @ weights))
    K = np.diag(np.full(n, float((a + noise + JITTER).item())))
    K[pairs] = K.T[pairs] = k
    L = np.linalg.cholesky(K)
    inverse = cho_solve((L, True), np.eye(n))
    alpha = inverse @ residual
    mean, deviation = _prior(d)
    z = (log_parameters - mean) / deviation
    value = 0.5 * residual @ alpha + np.log(np.diag(L)).sum() + 0.5 * z @ z
    slope = 0.5 * (inverse - np.outer(alpha, alpha))  # of the value by K
    off_diagonal, trace = 2.0 * slope[pairs] * k, np.trace(slope)
    gradient = np.concatenate(
        [-(off_diagonal @ distances) * weights, off_diagonal.sum() + trace * a, trace * noise],
        axis=None,
    )
    return value, gradient + z / deviation
