"""Cosines and unit vectors, as layers, tensors and arrays alike."""

from __future__ import annotations

import numpy as np

from autokit._backend import tf

EUCLIDEAN, COSINE = "euclidean", "cosine"
# Keras' UnitNormalization divides by sqrt(max(sum of squares, 1e-12)): so do these
_LEAST = 1e-12


def unit_tensor(x: tf.Tensor) -> tf.Tensor:
    """Rows of length 1 in TensorFlow."""
    return x * tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(x), -1, keepdims=True), _LEAST))


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows of length 1 in NumPy."""
    return x / np.sqrt(np.maximum(np.square(x).sum(axis=-1, keepdims=True), _LEAST))
