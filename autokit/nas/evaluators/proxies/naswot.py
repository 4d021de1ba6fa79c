"""NASWOT: does the network put rows into different linear regions?"""

from __future__ import annotations

import numpy as np

from autokit._backend import keras, tf
from autokit.nas.evaluators.proxies.forward import forward
from autokit.training import Batch


def naswot(model: keras.Model, batch: Batch, loss: keras.losses.Loss) -> float:
    """Log-determinant of the kernel of activation patterns of the ReLUs.

    A ReLU network is linear where its pattern of active units is the same. The code c_i of a row
    says of each unit of each ReLU whether it is active; ``K_ij`` is the number of units minus
    the Hamming distance of c_i and c_j, and the score ``log |det K|``. Minus infinity if the
    codes of two rows are equal.

    Measured: a Spearman correlation of .783 (bootstrapped .735 to .822) with the accuracy after
    200 epochs over 408 cells of NAS-Bench-201 asked about 16x16 MNIST digits, not clearly
    different from the number of weights (.753), which it beats in 90 % of the bootstraps;
    ``benchmarks/zero_cost.py``.

    Raises
    ------
    ValueError
        If the network has no ReLU.

    References
    ----------
    Mellor, Turner, Storkey, Crowley, "Neural Architecture Search without Training", 2021,
    equations 1 and 2. The codes are taken with the batch's statistics in batch normalisation.
    """
    kernels: list[np.ndarray] = []

    def observe(layer, outputs):
        if _is_relu(layer):
            kernels.append(hamming_kernel(outputs))

    forward(model, tf.constant(batch.x), observe=observe)
    if not kernels:
        raise ValueError(
            "naswot compares the patterns of ReLU activations in a Functional or Sequential "
            "network; got one without. Choose another proxy."
        )
    return log_determinant(sum(kernels))


def hamming_kernel(activations) -> np.ndarray:
    """On how many units each two rows agree; `activations` of shape (n_rows, ...)."""
    active = tf.cast(tf.reshape(activations, (len(activations), -1)) > 0, tf.float32)
    idle = 1.0 - active
    agree = tf.matmul(active, active, transpose_b=True) + tf.matmul(idle, idle, transpose_b=True)
    return agree.numpy().astype(np.float64)


def log_determinant(kernel: np.ndarray) -> float:
    """``log |det K|``, minus infinity for a matrix that is singular in float64."""
    eigenvalues = np.linalg.eigvalsh(kernel)
    if eigenvalues[0] <= eigenvalues[-1] * len(kernel) * np.finfo(float).eps:
        return -np.inf
    return float(np.log(eigenvalues).sum())


def _is_relu(layer) -> bool:
    functions = (keras.activations.relu, keras.activations.relu6)
    return isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) in functions
