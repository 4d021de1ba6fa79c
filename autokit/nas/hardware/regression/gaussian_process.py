"""A Gaussian process with a linear kernel for each group of features, and a smooth one."""

from __future__ import annotations

import numpy as np

from autokit.nas.hardware.regression.features import Features

MAX_ROWS = 400  # that the scales are fitted on: the time grows with the cube
JITTER = 1e-6
# log-normal priors: of the linear scales, of the smooth part, of its length, of the noise
LINEAR, SMOOTH, LENGTH, NOISE = (0.0, 3.0), (-1.0, 3.0), (0.5, 0.7), (-3.0, 2.5)
BOUNDS = {"linear": (-9.0, 6.0), "length": (-1.5, 3.0), "noise": (-10.0, 1.0)}


def learn(features: Features, ms: np.ndarray) -> dict[str, np.ndarray]:
    """Find scales and weights."""
    from scipy.linalg import cho_factor, cho_solve

    X, sizes, smooth = _columns(features)
    shift, scale = X.mean(axis=0), X.std(axis=0)
    scale[scale == 0] = 1.0
    X = (X - shift) / scale
    mean, deviation = ms.mean(), ms.std() or 1.0
    y = (ms - mean) / deviation
    scales = _most_probable(_parts(X[:MAX_ROWS], X[:MAX_ROWS], sizes, smooth), y[:MAX_ROWS])
    K = _kernel(_parts(X, X, sizes, smooth), scales)
    K[np.diag_indices(len(K))] += np.exp(scales[-1]) + JITTER
    weights = cho_solve(cho_factor(K, lower=True), y)
    return {
        "rows": X, "shift": shift, "scale": scale, "scales": scales,
        "weights": weights * deviation, "mean": np.array(mean),
    }  # fmt: skip


def answer(learned: dict[str, np.ndarray], features: Features) -> np.ndarray:
    """The mean of the process."""
    X, sizes, smooth = _columns(features)
    X = (X - learned["shift"]) / learned["scale"]
    parts = _parts(X, learned["rows"], sizes, smooth)
    return _kernel(parts, learned["scales"]) @ learned["weights"] + learned["mean"]


def _columns(features: Features) -> tuple[np.ndarray, list[int], int]:
    """All columns, how many each group has, and which group the smooth kernel looks at."""
    costs = features.log_costs
    groups = [features.codes, features.simplified, np.column_stack([costs, np.exp(costs)])]
    groups = [group for group in groups if group.shape[1]]
    # the code of the simplified architecture says the same without what is idle
    smooth = 1 if features.simplified.shape[1] else 0
    return np.column_stack(groups), [group.shape[1] for group in groups], smooth


def _parts(A: np.ndarray, B: np.ndarray, sizes: list[int], smooth: int) -> list[np.ndarray]:
    """Inner products of each group, then half the squared distances of one of them."""
    ends = np.cumsum(sizes)
    groups = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    inner = [A[:, g] @ B[:, g].T / (g.stop - g.start) for g in groups]
    g = groups[smooth]
    lengths = [np.mean(M[:, g] ** 2, axis=1) for M in (A, B)]
    half = 0.5 * (lengths[0][:, None] + lengths[1][None]) - inner[smooth]
    return [*inner, np.maximum(half, 0.0)]


def _kernel(parts: list[np.ndarray], scales: np.ndarray) -> np.ndarray:
    """The kernel without noise; `scales` are logarithms: linear ones, smooth, length, noise."""
    *inner, half = parts
    linear = sum(np.exp(s) * part for s, part in zip(scales, inner, strict=False))
    return 1.0 + linear + np.exp(scales[-3]) * np.exp(-half / np.exp(2 * scales[-2]))


def _most_probable(parts: list[np.ndarray], y: np.ndarray) -> np.ndarray:
    from scipy.optimize import minimize

    prior = np.array([LINEAR] * (len(parts) - 1) + [SMOOTH, LENGTH, NOISE])
    bounds = [BOUNDS["linear"]] * len(parts) + [BOUNDS["length"], BOUNDS["noise"]]
    return minimize(
        negative_log_posterior,
        prior[:, 0],
        args=(parts, y, prior),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
    ).x


def negative_log_posterior(scales, parts, y, prior):
    """Of the scales given the rows, with its gradient, up to a constant."""
    from scipy.linalg import cho_solve

    *inner, half = parts
    n, (s, log_length, log_noise) = len(y), scales[-3:]
    smooth = np.exp(s) * np.exp(-half / np.exp(2 * log_length))
    linear = [np.exp(t) * part for t, part in zip(scales, inner, strict=False)]
    K = 1.0 + sum(linear) + smooth
    K[np.diag_indices(n)] += np.exp(log_noise) + JITTER
    L = np.linalg.cholesky(K)
    inverse = cho_solve((L, True), np.eye(n))
    alpha = inverse @ y
    z = (scales - prior[:, 0]) / prior[:, 1]
    value = 0.5 * y @ alpha + np.log(np.diag(L)).sum() + 0.5 * z @ z
    slope = 0.5 * (inverse - np.outer(alpha, alpha))  # of the value by K
    by_length = 2.0 * smooth * half / np.exp(2 * log_length)
    gradient = [np.sum(slope * part) for part in (*linear, smooth, by_length)]
    gradient.append(np.trace(slope) * np.exp(log_noise))
    return value, np.array(gradient) + z / prior[:, 1]
