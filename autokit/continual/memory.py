"""A bounded memory of rows that were learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autokit.training import Batch


@dataclass(frozen=True)
class Memory:
    """Rows kept from experiences before.

    Attributes
    ----------
    x : np.ndarray of shape (n_rows, ...)
        Encoded.
    y : np.ndarray of shape (n_rows,) or (n_rows, n_outputs + 1)
        Units, or numbers and the head.
    outputs : np.ndarray of float32, shape (n_rows, n_units), or None
        What the network answered when they were stored.
    priority : np.ndarray of float64, shape (n_rows,)
        Rows of the lowest are kept longest.
    n_seen : int
        Rows that were offered so far.
    """

    x: np.ndarray
    y: np.ndarray
    outputs: np.ndarray | None
    priority: np.ndarray
    n_seen: int = 0

    @classmethod
    def empty(cls, batch: Batch, n_units: int | None = None) -> Memory:
        """A memory for rows like these, with room for outputs of so many units."""
        outputs = None if n_units is None else np.zeros((0, n_units), np.float32)
        return cls(batch.x[:0], batch.y[:0], outputs, np.zeros(0))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def size_bytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.x, self.y, self.outputs, self.priority)
        return sum(a.nbytes for a in arrays if a is not None)

    def take(self, rows: np.ndarray) -> Memory:
        """The memory of the given rows."""
        outputs = None if self.outputs is None else self.outputs[rows]
        return Memory(self.x[rows], self.y[rows], outputs, self.priority[rows], self.n_seen)

    def joined(self, batch: Batch, priority: np.ndarray, outputs: np.ndarray | None) -> Memory:
        """The memory with further rows, without a limit."""
        both = None
        if self.outputs is not None:
            both = np.concatenate([self.outputs, outputs])
        return Memory(
            np.concatenate([self.x, batch.x]),
            np.concatenate([self.y, batch.y]),
            both,
            np.concatenate([self.priority, priority]),
            self.n_seen + len(batch),
        )


def reservoir(memory: Memory, size: int) -> np.ndarray:
    """A uniform sample of all rows ever offered.

    Each row has a uniform random priority; the lowest stay. That is reservoir sampling (Vitter
    1985) in the form of Efraimidis and Spirakis (2006).
    """
    return np.sort(np.argsort(memory.priority, kind="stable")[:size])


def balanced(memory: Memory, size: int) -> np.ndarray:
    """As many rows of each class (or head) as fit, those of the lowest priority."""
    kinds = memory.y if memory.y.ndim == 1 else memory.y[:, -1]
    distinct, kind = np.unique(kinds, return_inverse=True)
    order = np.lexsort((memory.priority, kind))
    counts = np.bincount(kind, minlength=len(distinct))
    rank = np.empty(len(kind), int)
    rank[order] = np.concatenate([np.arange(n) for n in counts])
    # the n-th row of every class comes before the (n+1)-th of any
    return np.sort(np.lexsort((memory.priority, rank))[:size])


# How rows are chosen -> (memory with all rows, size) -> rows to keep.
SELECTIONS: dict[str, Callable[[Memory, int], np.ndarray]] = {
    "balanced": balanced,
    "reservoir": reservoir,
}
