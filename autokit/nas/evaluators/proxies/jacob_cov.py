"""Jacobian covariance: do rows pull the network in different directions?"""

from __future__ import annotations

import numpy as np

from autokit._backend import keras, tf
from autokit.nas.evaluators.proxies.forward import forward
from autokit.training import Batch

_K = 1e-5


def jacob_cov(model: keras.Model, batch: Batch, loss: keras.losses.Loss) -> float:
    """How little the input gradients of the rows of a batch correlate.

    ``-sum_i (log(v_i + k) + 1 / (v_i + k))`` with k = 1e-5 and v the eigenvalues of the matrix of
    correlations between the rows' ``d sum(outputs) / dx``. Minus infinity if a row has none.

    Measured: a Spearman correlation of .741 (bootstrapped .684 to .789) with the accuracy after
    200 epochs over 408 cells of NAS-Bench-201 asked about 16x16 MNIST digits, not clearly
    different from the number of weights (.753), which it beats in 35 % of the bootstraps;
    ``benchmarks/zero_cost.py``.

    References
    ----------
    Mellor, Turner, Storkey, Crowley, "Neural Architecture Search without Training", first version
    of 2020, equation 6; Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", 2021.
    """
    rows = tf.constant(batch.x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(rows)
        total = tf.reduce_sum(forward(model, rows))
    gradient = tape.gradient(total, rows, unconnected_gradients="zero")
    return score_of(gradient.numpy().reshape(len(rows), -1))


def score_of(jacobian: np.ndarray) -> float:
    """The score of gradients of shape (n_rows, n_inputs)."""
    centred = jacobian.astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or norms.min() == 0:
        return -np.inf
    correlations = (centred / norms) @ (centred / norms).T
    # rounding makes zeros slightly negative, and 1 / (v + k) would leave the scale
    eigenvalues = np.maximum(np.linalg.eigvalsh(correlations), 0.0)
    return float(-np.sum(np.log(eigenvalues + _K) + 1.0 / (eigenvalues + _K)))
