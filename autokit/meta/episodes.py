"""Tasks drawn from labelled rows: as places of rows, for a whole epoch at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autokit._backend import tf
from autokit.meta.protocols import Layout, Task

TURNS = 4  # rotations by 90 degrees
_KEYS = 1 << 22  # random numbers drawn at once


class Pool:
    """Rows by class (or by task, of regressions), to draw tasks from.

    A place is a row's number, plus the number of all rows for each quarter turn.

    Parameters
    ----------
    y : np.ndarray of int of shape (n_rows,)
        The class of each row.
    n_rows : int
        Of the array that places count in.
    classes : np.ndarray of int, default=None
        Those that are drawn; None takes all.
    turns : int, default=1
        4 makes every quarter turn of a class a class of its own.
    """

    def __init__(self, y: np.ndarray, classes: np.ndarray | None = None, turns: int = 1):
        self.n_rows, self.turns = len(y), turns
        order = np.argsort(y, kind="stable")
        found, first, counts = np.unique(y[order], return_index=True, return_counts=True)
        chosen = slice(None) if classes is None else np.isin(found, classes)
        self.classes, self._first, self._counts = found[chosen], first[chosen], counts[chosen]
        self._order = order.astype(np.int32)

    @property
    def n_classes(self) -> int:
        """Classes to draw from, turns included."""
        return len(self.classes) * self.turns

    def draw(self, rng: np.random.Generator, layout: Layout, n: int) -> np.ndarray:
        """Places of `n` tasks, int32 of shape (n, n_support + n_queries): no row twice in one.

        Support rows come first, both sorted by class; classes are in random order.
        """
        ways = _distinct(rng, np.full(n, self.n_classes), layout.n_way)
        return self.rows(rng, ways, layout)

    def rows(self, rng: np.random.Generator, ways: np.ndarray, layout: Layout) -> np.ndarray:
        """Places of tasks of given classes, of shape (n, n_way)."""
        width = layout.k_shot + layout.n_query
        group, turn = np.divmod(ways, self.turns)
        chosen = _distinct(rng, self._counts[group].ravel(), width).reshape(*ways.shape, width)
        places = self._order[self._first[group][..., None] + chosen]
        places = places + (turn * self.n_rows)[..., None].astype(np.int32)
        support, query = np.split(places, [layout.k_shot], axis=2)
        n = len(ways)
        return np.concatenate([support.reshape(n, -1), query.reshape(n, -1)], axis=1)

    def mixed(self, rng: np.random.Generator, layout: Layout, n: int):
        """Rows of all classes alike, as many as `n` tasks have: places and codes of classes."""
        width = layout.n_support + layout.n_queries
        rows = np.concatenate(
            [self._order[f : f + c] for f, c in zip(self._first, self._counts, strict=True)]
        )
        codes = np.repeat(np.arange(len(self.classes), dtype=np.int32), self._counts)
        place = rng.integers(0, len(rows), (n, width))
        turn = rng.integers(0, self.turns, (n, width))
        places = (rows[place] + turn * self.n_rows).astype(np.int32)
        return places, (codes[place] * self.turns + turn).astype(np.int32)


def _distinct(rng: np.random.Generator, sizes: np.ndarray, k: int) -> np.ndarray:
    """For each size, `k` different numbers below it in random order: of shape (len(sizes), k)."""
    if k == 1:
        return (rng.random(len(sizes)) * sizes).astype(np.int64)[:, None]
    largest = int(sizes.max())
    step = max(1, _KEYS // largest)
    parts = []
    for start in range(0, len(sizes), step):
        part = sizes[start : start + step]
        keys = rng.random((len(part), largest), np.float32)
        keys[np.arange(largest) >= part[:, None]] = 2.0
        least = np.argpartition(keys, k - 1, axis=1)[:, :k] if k < largest else None
        if least is None:
            parts.append(np.argsort(keys, axis=1)[:, :k])
            continue
        inner = np.argsort(np.take_along_axis(keys, least, axis=1), axis=1)
        parts.append(np.take_along_axis(least, inner, axis=1))
    return np.concatenate(parts)


def gathered(rows: tf.Tensor, places: tf.Tensor, turns: int) -> tf.Tensor:
    """The rows at places of shape (n_tasks, width), turned where a place says so.

    Parameters
    ----------
    rows : tf.Tensor of shape (n_rows, ...)
        Square images if `turns` is not 1: (n_rows, side, side) or (n_rows, side, side, channels).
    places : int32 of shape (n_tasks, width)
    turns : int
    """
    if turns == 1:
        return tf.gather(rows, places)
    n_rows = tf.shape(rows)[0]
    x = tf.gather(rows, places % n_rows)
    turn = tf.reshape(places // n_rows, tf.concat([tf.shape(places), [1] * (len(x.shape) - 2)], 0))
    across = tf.transpose(x, [0, 1, 3, 2, *range(4, len(x.shape))])
    ways = [tf.reverse(across, [2]), tf.reverse(x, [2, 3]), tf.reverse(across, [3])]
    for number, turned in enumerate(ways, start=1):
        x = tf.where(turn == number, turned, x)
    return x


def task_of(layout: Layout, x: tf.Tensor, y: tf.Tensor | None) -> Task:
    """Tasks from their rows, of shape (n_tasks, n_support + n_queries, ...).

    Parameters
    ----------
    layout : Layout
    x : tf.Tensor
    y : tf.Tensor or None
        Targets of a regression; None for classes, which follow from the layout.
    """
    n = layout.n_support
    if y is not None:
        return Task(x[:, :n], y[:, :n], x[:, n:], y[:, n:])
    n_tasks = tf.shape(x)[0]
    codes = [layout.codes(layout.k_shot), layout.codes(layout.n_query)]
    support, query = (tf.tile(tf.constant(c)[None], [n_tasks, 1]) for c in codes)
    return Task(x[:, :n], support, x[:, n:], query)


def answers_of(layout: Layout, n: int) -> np.ndarray:
    """Codes of the queries of `n` tasks, of shape (n, n_queries)."""
    return np.tile(layout.codes(layout.n_query), (n, 1))


def check_counts(
    labels: Sequence,
    counts: np.ndarray,
    layout: Layout,
    what: str,
    turns: int = 1,
    group: str = "class",
) -> None:
    """Raise where tasks of a layout cannot be drawn from these classes.

    Parameters
    ----------
    labels : sequence
        Of the classes to draw from.
    counts : np.ndarray of int
        Rows of each.
    layout : Layout
    what : str
        Where the classes are from, for the message.
    turns : int, default=1
    group : {"class", "task"}, default="class"
        What a label names.
    """
    plural = {"class": "classes"}.get(group, f"{group}s")
    if len(labels) * turns < layout.n_way:
        raise ValueError(
            f"n_way is {layout.n_way}, but {what} has {len(labels)} "
            f"{group if len(labels) == 1 else plural} to draw from; lower n_way, or bring more "
            f"{plural}."
        )
    wanted = layout.k_shot + layout.n_query
    if counts.min() < wanted:
        least = int(counts.argmin())
        label = labels[least]
        raise ValueError(
            f"k_shot + n_query is {layout.k_shot} + {layout.n_query} = {wanted}, but the {group} "
            f"{label!r} of {what} has {int(counts[least])} "
            f"sample{'s' * bool(counts[least] != 1)} ({int((counts < wanted).sum())} of "
            f"{len(labels)} {plural} have fewer than {wanted}); lower k_shot or n_query, or leave "
            f"such {plural} out."
        )
