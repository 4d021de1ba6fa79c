"""TFMOT's mathematics on Keras 3 weights: the one place that imports it.

Its public wrappers refuse Keras 3 models; its masks and centroids are functions of tensors.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np

from autokit._backend import tf

_ROOT = "tensorflow_model_optimization"
_CORE = f"{_ROOT}.python.core"
INITIALIZATIONS = ("kmeans++", "linear", "density")


@functools.cache
def _load() -> SimpleNamespace:
    tf.keras.__version__  # noqa: B018  once loaded, it stays Keras 3 whatever TFMOT sets
    former = os.environ.get("TF_USE_LEGACY_KERAS")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = {
                "Pruning": f"{_CORE}.sparsity.keras.pruning_impl",
                "PruningSchedule": f"{_CORE}.sparsity.keras.pruning_schedule",
                "PolynomialDecay": f"{_CORE}.sparsity.keras.pruning_schedule",
                "ConstantSparsity": f"{_CORE}.sparsity.keras.pruning_schedule",
                "ClusteringAlgorithm": f"{_CORE}.clustering.keras.clustering_algorithm",
                "CentroidsInitializerFactory": f"{_CORE}.clustering.keras.clustering_centroids",
                "CentroidInitialization": f"{_CORE}.clustering.keras.cluster_config",
            }
            found = {n: getattr(importlib.import_module(m), n) for n, m in parts.items()}
            found["Pruning"]._maybe_update_block_mask  # noqa: B018  private, so looked for at once
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"Pruning and clustering need {_ROOT} with the parts that 0.8.1 has ({error}); "
            "install tensorflow-model-optimization==0.8.1."
        ) from error
    finally:
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
        if former is not None:
            os.environ["TF_USE_LEGACY_KERAS"] = former
    return SimpleNamespace(**found)


def is_schedule(value: Any) -> bool:
    """Whether a value is one of TFMOT's pruning schedules."""
    return isinstance(value, _load().PruningSchedule)


def make_schedule(name: str, sparsity: float, end_step: int, frequency: int):
    """One of TFMOT's schedules from step 0 on.

    Parameters
    ----------
    name : {"polynomial", "constant"}
        From 0 by a cubic (Zhu & Gupta 2017, equation 1), or at once.
    sparsity : float
    end_step, frequency : int
        At least 1.

    Returns
    -------
    tensorflow_model_optimization PruningSchedule
    """
    if name == "constant":
        return _load().ConstantSparsity(sparsity, 0, end_step, frequency)
    return _load().PolynomialDecay(0.0, sparsity, 0, end_step, frequency=frequency)


def mask_of(matrix: tf.Tensor, sparsity: Any, m_by_n: tuple[int, int] | None = None) -> tf.Tensor:
    """TFMOT's mask of a matrix by magnitude.

    Parameters
    ----------
    matrix : tf.Tensor of shape (inputs, outputs)
    sparsity : float or tf.Tensor of shape ()
        Share of zeros.
    m_by_n : tuple (m, n), default=None
        Instead: m zeros in each group of n along the inputs; a last group that is not full may
        have fewer.

    Returns
    -------
    tf.Tensor of shape (inputs, outputs)
        Ones and zeros, of the matrix's dtype.
    """
    core = _load().Pruning(lambda: 0, [], lambda step: (True, sparsity), (1, 1), "AVG", m_by_n)
    _, mask = core._maybe_update_block_mask(matrix)
    return tf.cast(mask, matrix.dtype)


def initial_centroids(values: np.ndarray, n: int, initialization: str) -> np.ndarray:
    """TFMOT's first centroids; with zeros among the values, one centroid is zero.

    Parameters
    ----------
    values : np.ndarray
    n : int
    initialization : {"kmeans++", "linear", "density"}

    Returns
    -------
    np.ndarray of shape (at most n,)
    """
    kinds = _load().CentroidInitialization
    kind = {
        "kmeans++": kinds.KMEANS_PLUS_PLUS,
        "linear": kinds.LINEAR,
        "density": kinds.DENSITY_BASED,
    }[initialization]
    maker = _load().CentroidsInitializerFactory.get_centroid_initializer(kind)
    weights = tf.constant(values.reshape(-1), tf.float32)
    made = maker(weights, n, preserve_sparsity=bool((values == 0).any()))
    return np.sort(made.get_cluster_centroids().numpy())


def nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Place of the nearest centroid for each value, by TFMOT's lookup.

    Parameters
    ----------
    values : np.ndarray of shape (n,)
    centroids : np.ndarray of shape (k,)

    Returns
    -------
    np.ndarray of int, of shape (n,)
    """
    lookup = _load().ClusteringAlgorithm(tf.Variable(centroids))
    step = max(1, _LOOKUP_NUMBERS // len(centroids))
    pieces = [
        lookup.get_pulling_indices(tf.constant(values[i : i + step])).numpy()
        for i in range(0, len(values), step)
    ]
    return np.concatenate(pieces)


_LOOKUP_NUMBERS = 1 << 22  # TFMOT's lookup holds a number per value and centroid
