"""SNIP: how much the loss depends on the connections."""

from __future__ import annotations

from autokit._backend import keras, tf
from autokit.nas.evaluators.proxies.kernels import kernel_gradients
from autokit.training import Batch


def snip(model: keras.Model, batch: Batch, loss: keras.losses.Loss) -> float:
    """Sum over the kernels' weights of the loss's sensitivity to their removal, on one batch.

    ``sum_i |theta_i dL / dtheta_i|``, the derivative of the loss in a factor at the weight.

    Measured: a Spearman correlation of .590 (bootstrapped .512 to .659) with the accuracy after
    200 epochs over 408 cells of NAS-Bench-201 asked about 16x16 MNIST digits, below the number
    of weights (.753); ``benchmarks/zero_cost.py``.

    References
    ----------
    Lee, Ajanthan, Torr, "SNIP: Single-Shot Network Pruning Based on Connection Sensitivity",
    2019, equation 5, without its normalisation to a sum of one; summed up as in Abdelfattah et
    al., "Zero-Cost Proxies for Lightweight NAS", 2021, equation 1.
    """
    pairs = kernel_gradients(model, batch, loss)
    return float(tf.add_n([tf.reduce_sum(tf.abs(w * g)) for w, g in pairs]))
