"""What a compression cost, and what it saved."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autokit._backend import keras


@dataclass(frozen=True)
class Weights:
    """What the weights of a network take."""

    n_weights: int
    size_bytes: int
    zipped_bytes: int
    sparsity: dict[str, float]

    @classmethod
    def of(cls, model: keras.Model) -> Weights:
        """Measure a model's weights; the states of random generators do not count."""
        counted = [v for v in model.variables if "float" in str(v.dtype)]
        values = [v.value.numpy() for v in counted]
        raw = b"".join(np.asarray(value, np.float32).tobytes() for value in values)
        sparsity = {
            v.path: float(np.mean(value == 0))
            for v, value in zip(counted, values, strict=True)
            if value.ndim >= 2
        }
        return cls(len(raw) // 4, len(raw), len(zlib.compress(raw, 9)), sparsity)


@dataclass(frozen=True)
class CompressionReport:
    """What a compression did.

    Attributes
    ----------
    method : str
        Name of its class.
    metric : {"accuracy", "R2"}
    score_before, score_after : float
        On `n_rows` rows that were not trained on.
    n_rows : int
    n_weights_before, n_weights_after : int
        All numbers of the network, zeros included.
    sparsity : dict of str to float
        Share of zeros in each weight of two axes or more, by its path.
    size_bytes_before, size_bytes_after : int
        Of the weights as they are stored in a float file.
    zipped_bytes_before, zipped_bytes_after : int
        The same, compressed by zlib: zeros and repeated values cost next to nothing there.
    seconds : float
    details : dict
        What the method itself has to tell.
    path : tuple of CompressionReport
        Compressions before this one, the first first.
    """

    method: str
    metric: str
    score_before: float
    score_after: float
    n_rows: int
    n_weights_before: int
    n_weights_after: int
    sparsity: dict[str, float]
    size_bytes_before: int
    size_bytes_after: int
    zipped_bytes_before: int
    zipped_bytes_after: int
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)
    path: tuple[CompressionReport, ...] = ()

    @classmethod
    def between(cls, before: Weights, after: Weights, **told: Any) -> CompressionReport:
        """The report of a change from some weights to others."""
        return cls(
            n_weights_before=before.n_weights,
            n_weights_after=after.n_weights,
            sparsity=after.sparsity,
            size_bytes_before=before.size_bytes,
            size_bytes_after=after.size_bytes,
            zipped_bytes_before=before.zipped_bytes,
            zipped_bytes_after=after.zipped_bytes,
            **told,
        )

    @property
    def score_drop(self) -> float:
        """How much was lost; negative if the score rose."""
        return self.score_before - self.score_after

    @property
    def mean_sparsity(self) -> float:
        """Share of zeros in all weights of two axes or more, a mean over the weights."""
        return float(np.mean(list(self.sparsity.values()))) if self.sparsity else 0.0

    def __str__(self) -> str:
        return (
            f"{self.method}: {self.metric} {self.score_before:.4f} -> {self.score_after:.4f} on "
            f"{self.n_rows} rows; {self.size_bytes_before / 1000:.1f} -> "
            f"{self.size_bytes_after / 1000:.1f} kB, zipped {self.zipped_bytes_before / 1000:.1f} "
            f"-> {self.zipped_bytes_after / 1000:.1f} kB; mean sparsity {self.mean_sparsity:.3f}"
        )
