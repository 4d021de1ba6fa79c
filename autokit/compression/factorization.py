"""Low-rank factors in the place of large kernels."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit._backend import keras
from autokit.compression.method import CompressionMethod, Outcome, as_verb
from autokit.compression.surgery import moved, rebuilt, resolved

_DENSE = (keras.layers.Dense,)
_CONV = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def low_rank(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The best approximation of a matrix by a product of two thin ones.

    ``matrix ~ (U sqrt(S)) (sqrt(S) V^T)`` from the singular value decomposition, cut to `rank`
    (Eckart & Young 1936); both factors get the same norm, so that one learning rate suits both.

    Parameters
    ----------
    matrix : ndarray of shape (n, m)
    rank : int
        At most ``min(n, m)``, where the product is the matrix itself.

    Returns
    -------
    left : ndarray of shape (n, rank)
    right : ndarray of shape (rank, m)
    """
    u, s, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    root = np.sqrt(s[:rank])
    left, right = u[:, :rank] * root, root[:, None] * vt[:rank]
    return left.astype(matrix.dtype), right.astype(matrix.dtype)


def rank_of_energy(matrix: np.ndarray, energy: float) -> int:
    """The least rank whose singular values hold a share of all of their squares."""
    s = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    held = np.cumsum(s**2)
    return int(min(len(s), np.searchsorted(held, (energy - 1e-12) * held[-1]) + 1))


@dataclass(kw_only=True, eq=False, repr=False)
class Factorize(CompressionMethod):
    """Kernels of dense and convolution layers as products of two thin ones, then tuned.

    A dense kernel (n_in, n_out) becomes ``dense(rank, no bias)`` and ``dense(n_out)``; a
    convolution ``(h, w, n_in, n_out)`` becomes one of `rank` filters and a 1x1 convolution
    (Zhang et al. 2016, section 3.1). A layer is replaced only where that saves weights.

    Parameters
    ----------
    rank : int or None, default=None
        Of every product; smaller where a kernel has no such rank.
    energy : float in (0, 1], default=0.9
        Share of the squared singular values that each product keeps; only without `rank`.
    epochs, batch_size, learning_rate, validation_fraction, max_score_drop, random_state
        See `CompressionMethod`.

    References
    ----------
    Zhang, Zou, He, Sun, "Accelerating Very Deep Convolutional Networks for Classification and
    Detection", 2016; Denton et al., "Exploiting Linear Structure Within Convolutional Networks
    for Efficient Evaluation", 2014.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from autokit import KerasClassifier
    >>> from autokit.compression import factorize
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = KerasClassifier(epochs=10, random_state=0).fit(X, y)
    >>> small = factorize(clf, X, y, rank=8, epochs=3)
    >>> small.model_.count_params() < clf.model_.count_params()
    True
    """

    rank: int | None = None
    energy: float = 0.9

    _parameter_constraints = {
        **CompressionMethod._parameter_constraints,
        "rank": [None, Interval(Integral, 1, None, closed="left")],
        "energy": [Interval(Real, 0, 1, closed="right")],
    }

    def _compress(self, task):
        graph = resolved(task.model)
        ranks = {call.layer.name: self._rank(call.layer) for call in graph.calls}
        chosen = {name: rank for name, rank in ranks.items() if rank is not None}
        made: dict[str, list] = {}

        def change(layer, x):
            rank = chosen.get(layer.name)
            if rank is None:
                return None
            if layer.name not in made:
                made[layer.name] = _factors(layer, rank)
            for part, _ in made[layer.name]:
                x = part(x)
            return x

        model = rebuilt(graph, change)
        for parts in made.values():
            for part, weights in parts:
                part.set_weights(weights)
        task.held = moved(task.held, task.model, model)
        task.model = model
        details: dict[str, Any] = {"ranks": chosen, "score_before_tuning": task.score()}
        task.tune(self.epochs)
        return Outcome(task.model, task.held, details)

    def _rank(self, layer) -> int | None:
        """The rank of a layer's product, None if it stays."""
        if type(layer) not in _DENSE + _CONV or getattr(layer, "groups", 1) > 1:
            return None
        if getattr(layer, "lora_rank", None):
            raise ValueError(
                f"estimator_or_model: the layer {layer.name!r} holds LoRA weights; merge them "
                "with merge_lora first."
            )
        matrix = _matrix(layer)
        rank = self.rank or rank_of_energy(matrix, self.energy)
        rank = min(int(rank), *matrix.shape)
        return rank if rank * sum(matrix.shape) < matrix.size else None


def _matrix(layer) -> np.ndarray:
    kernel = layer.kernel.numpy()
    return kernel.reshape(-1, kernel.shape[-1])


def _factors(layer, rank: int) -> list[tuple[Any, list[np.ndarray]]]:
    """The two layers that replace one, and their weights."""
    left, right = low_rank(_matrix(layer), rank)
    config = layer.get_config()
    first = {**config, "name": f"{layer.name}_in", "use_bias": False, "activation": "linear"}
    second = {**config, "name": f"{layer.name}_out"}
    first["bias_regularizer"] = first["activity_regularizer"] = None
    if isinstance(layer, _DENSE):
        first["units"] = rank
    else:
        first["filters"] = rank
        ones = (1,) * len(layer.kernel_size)
        second |= {"kernel_size": ones, "strides": ones, "dilation_rate": ones, "padding": "valid"}
        left = left.reshape(*layer.kernel.shape[:-1], rank)
        right = right.reshape(*ones, rank, -1)
    biases = [layer.bias.numpy()] if layer.use_bias else []
    return [
        (type(layer).from_config(first), [left]),
        (type(layer).from_config(second), [right, *biases]),
    ]


factorize = as_verb(Factorize, "factorize", "Replace large kernels by products of thin ones.")
