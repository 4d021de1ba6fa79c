"""Which rows each step of an epoch trains on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autokit.training.batches import DEVICE_BYTES, Batch, chunks

NO_ROW = -1


@dataclass(frozen=True)
class Order:
    """The rows of the steps, one step after the other.

    Attributes
    ----------
    rows : np.ndarray of int32 of shape (n_places,)
        Their numbers; `NO_ROW` fills the places of a step that has fewer rows than others.
    size : int
        Places of a step; the last one may have fewer.
    """

    rows: np.ndarray
    size: int

    @property
    def n_steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.rows) // self.size)

    def n_rows(self, start: int, stop: int) -> int:
        """How many rows the steps from `start` to before `stop` train on."""
        ends = self._ends
        if ends is None:
            return min(stop * self.size, len(self.rows)) - start * self.size
        return int(ends[stop] - ends[start])

    @cached_property
    def _ends(self):
        if not len(self.rows) or self.rows.min() >= 0:
            return None
        filled = (self.rows >= 0).reshape(-1, self.size)
        return np.concatenate([[0], np.cumsum(filled.sum(axis=1))])

    def pieces(self, data: Batch) -> Iterator[tuple[Batch, Order]]:
        """Parts of the data that fit on the device, with the order of their own rows."""
        if self._ends is None:
            for piece in chunks(data, self.rows, self.size):
                yield piece, Order(np.arange(len(piece), dtype="int32"), self.size)
            return
        row_bytes = max(1, data.size_bytes // max(1, len(data)))
        places = max(1, DEVICE_BYTES // row_bytes // self.size) * self.size
        for start in range(0, len(self.rows), places):
            rows = self.rows[start : start + places].copy()
            piece = data.take(rows[rows >= 0])
            rows[rows >= 0] = np.arange(len(piece))
            yield piece, Order(rows, self.size)


def shuffled(rng: np.random.Generator, n_rows: int, size: int) -> Order:
    """Every row once, in steps of `size` rows."""
    return Order(rng.permutation(n_rows).astype("int32"), size)


def poisson(rng: np.random.Generator, n_rows: int, size: int) -> Order:
    """Steps that every row takes part in with probability ``size / n_rows``, each for itself.

    As many steps as an epoch has otherwise; they have different numbers of rows, maybe none.
    """
    n_steps = -(-n_rows // size)
    rate = min(1.0, size / n_rows)
    steps = [
        rng.choice(n_rows, count, replace=False, shuffle=False)
        for count in rng.binomial(n_rows, rate, n_steps)
    ]
    width = max(1, max(map(len, steps)))
    rows = np.full((n_steps, width), NO_ROW, dtype="int32")
    for place, step in enumerate(steps):
        rows[place, : len(step)] = step
    return Order(rows.reshape(-1), width)


ORDERS = {"shuffled": shuffled, "poisson": poisson}
