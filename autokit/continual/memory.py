"""A bounded memory of rows that were learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

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


@dataclass(frozen=True)
class Offer:
    """Rows that a memory may keep.

    Attributes
    ----------
    batch : Batch
    features : callable
        ``features()``: what enters the network's output layer for these rows, of shape
        (n_rows, ...).
    size : int
        Rows that the memory holds at most.
    """

    batch: Batch
    features: Callable[[], np.ndarray]
    size: int


class Selection(NamedTuple):
    """How a memory chooses.

    Attributes
    ----------
    priority : callable
        ``(offer, rng)`` gives the priority of each row of an offer.
    rows : callable
        ``(memory, size)`` gives the rows to keep, where a memory has more.
    """

    priority: Callable[[Offer, np.random.Generator], np.ndarray]
    rows: Callable[[Memory, int], np.ndarray]


def kinds_of(y: np.ndarray) -> np.ndarray:
    """The class of each row; the head where targets are numbers."""
    return y if y.ndim == 1 else y[:, -1]


def at_random(offer: Offer, rng: np.random.Generator) -> np.ndarray:
    """Uniform priorities."""
    return rng.random(len(offer.batch))


def by_herding(offer: Offer, rng: np.random.Generator) -> np.ndarray:
    """The rank of each row within its class, by `herding` on features of length 1.

    A class that comes again in a later experience is ranked anew among the new rows, so that
    experiences share its places.
    """
    features = unit_rows(offer.features())
    kinds = kinds_of(offer.batch.y)
    priority = np.zeros(len(kinds))
    for kind in np.unique(kinds):
        rows = np.flatnonzero(kinds == kind)
        priority[rows[herding(features[rows], offer.size)]] = np.arange(len(rows))
    return priority


def herding(features: np.ndarray, size: int) -> np.ndarray:
    """Order rows so that the mean of the first few is near the mean of all.

    ::

        p_k = argmin_x || mean - (phi(x) + sum_(j<k) phi(p_j)) / k ||       x not chosen before

    Parameters
    ----------
    features : np.ndarray of shape (n_rows, n_features)
    size : int
        Rows that are ordered so; the others follow by what they would have been at that point.

    Returns
    -------
    np.ndarray of int, shape (n_rows,)

    References
    ----------
    Rebuffi, Kolesnikov, Sperl, Lampert, "iCaRL", 2017, algorithm 4. Neither mean is brought to
    length 1 again, so that the mean of all rows can be reached.

    Examples
    --------
    >>> herding(np.array([[0.0], [1.0], [5.0]]), 3)
    array([1, 2, 0])
    """
    features = features.astype(np.float64)
    # || k mean - sum - phi ||^2 up to what is the same for all rows, halved, negative
    score = -0.5 * np.square(features).sum(axis=1)
    pull, mean = np.zeros(features.shape[1]), features.mean(axis=0)
    chosen = []
    n_ordered = min(size, len(features))
    for _ in range(n_ordered):
        pull += mean
        place = int(np.argmax(score + features @ pull))
        chosen.append(place)
        score[place] = -np.inf
        pull -= features[place]
    rest = np.argsort(-(score + features @ (pull + mean)), kind="stable")[
        : len(features) - n_ordered
    ]
    return np.concatenate([np.array(chosen, int), rest])


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Rows flattened and divided by their length; zeros stay zeros."""
    flat = features.reshape(len(features), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.maximum(length, 1e-12)


def reservoir(memory: Memory, size: int) -> np.ndarray:
    """A uniform sample of all rows ever offered.

    Each row has a uniform random priority; the lowest stay. That is reservoir sampling (Vitter
    1985) in the form of Efraimidis and Spirakis (2006).
    """
    return np.sort(np.argsort(memory.priority, kind="stable")[:size])


def balanced(memory: Memory, size: int) -> np.ndarray:
    """As many rows of each class (or head) as fit, those of the lowest priority."""
    distinct, kind = np.unique(kinds_of(memory.y), return_inverse=True)
    order = np.lexsort((memory.priority, kind))
    counts = np.bincount(kind, minlength=len(distinct))
    rank = np.empty(len(kind), int)
    rank[order] = np.concatenate([np.arange(n) for n in counts])
    # the n-th row of every class comes before the (n+1)-th of any
    return np.sort(np.lexsort((memory.priority, rank))[:size])


SELECTIONS: dict[str, Selection] = {
    "balanced": Selection(at_random, balanced),
    "herding": Selection(by_herding, balanced),
    "reservoir": Selection(at_random, reservoir),
}
