"""A policy in the place of chance: what `SearchSpace.sample` draws, somebody decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

MAX_OPTIONS = 64
BINS = 8
BEAM, MAX_KINDS, MAX_PLACES = 2, 16, 256


class Draws:
    """A random generator whose draws are decisions.

    A space samples as ever, ``space.sample(draws)``, and every draw of one of ``n`` options is
    put to a policy. So a policy reaches every architecture of every space, those with a variable
    number of decisions included, and need not know any of them.

    ::

        integers, choice, permutation, shuffle    a decision each draw
        random, uniform                           a decision among 8 bins, chance within the bin
        all else, and more than 64 options        chance, and from the 257th decision on

    Parameters
    ----------
    decide : callable
        ``(options) -> choice``: from the numbers of options of all draws so far, the one at hand
        last, to an int below ``options[-1]``. A single one means a new beginning.
    rng : numpy.random.Generator
        Chance.

    Attributes
    ----------
    options : list of int
        Of the draws so far.
    choices : list of int

    Examples
    --------
    >>> draws = Draws(lambda options: options[-1] - 1, np.random.default_rng(0))
    >>> draws.integers(5), draws.choice(["relu", "tanh"])
    (4, 'tanh')
    >>> draws.options, draws.choices
    ([5, 2], [4, 1])
    """

    def __init__(self, decide: Callable[[Sequence[int]], int], rng: np.random.Generator):
        self._decide, self._rng = decide, rng
        self.options: list[int] = []
        self.choices: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rng, name)

    def restart(self) -> None:
        """Forget the draws so far: a space that rejects what it drew says so, and draws anew."""
        self.options, self.choices = [], []

    def integers(self, low, high=None, size=None, dtype=np.int64, endpoint=False):
        """As `numpy.random.Generator.integers`."""
        low, high = (0, low) if high is None else (low, high)
        low, high = np.broadcast_arrays(low, np.asarray(high) + bool(endpoint))
        shape = low.shape if size is None else size
        low, high = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
        drawn = [a + self._one_of(int(b - a)) for a, b in zip(low.flat, high.flat, strict=True)]
        return np.array(drawn, dtype).reshape(low.shape)[()]

    def choice(self, a, size=None, replace=True, p=None, axis=0, shuffle=True):
        """As `numpy.random.Generator.choice`; of `p` only counts what is impossible."""
        values = np.arange(a) if np.ndim(a) == 0 else np.asarray(a)
        left = list(range(len(values)) if p is None else np.flatnonzero(p))
        places = []
        for _ in range(int(np.prod(1 if size is None else size))):
            places.append(left[self._one_of(len(left))])
            if not replace:
                left.remove(places[-1])
        return np.take(values, np.array(places, int).reshape(() if size is None else size), axis)

    def random(self, size=None, dtype=np.float64, out=None):
        """As `numpy.random.Generator.random`."""
        bins = np.asarray(self.integers(BINS, size=size), dtype)
        return (bins + self._rng.random(size, dtype)) / BINS

    def uniform(self, low=0.0, high=1.0, size=None):
        """As `numpy.random.Generator.uniform`."""
        shape = np.broadcast(low, high).shape if size is None else size
        return low + (np.asarray(high) - low) * self.random(shape or None)

    def permutation(self, x, axis=0):
        """As `numpy.random.Generator.permutation`."""
        values = np.arange(x) if np.ndim(x) == 0 else np.asarray(x)
        return self.choice(values, size=values.shape[axis], replace=False, axis=axis)

    def shuffle(self, x, axis=0):
        """As `numpy.random.Generator.shuffle`."""
        x[:] = [x[i] for i in self.permutation(len(x))]

    def _one_of(self, n: int) -> int:
        if n < 1:
            raise ValueError(f"a draw needs at least one option; got {n}.")
        if n > MAX_OPTIONS or len(self.options) >= MAX_PLACES:
            return int(self._rng.integers(n))
        if n == 1:
            return 0
        self.options.append(n)
        self.choices.append(int(self._decide(self.options)))
        return self.choices[-1]


def replay(space, choices: Sequence[int], rng: np.random.Generator) -> tuple[Any, Draws]:
    """The architecture that a space makes of given choices.

    Where they end, the options take turns: a space that rejects a sample must not get it forever.

    Returns
    -------
    architecture : hashable
    draws : Draws
    """

    def decide(options):
        place = len(options) - 1
        return min(choices[place], options[-1] - 1) if place < len(choices) else place % options[-1]

    draws = Draws(decide, rng)
    return space.sample(draws), draws


def find_draws(space, architecture, rng: np.random.Generator) -> Draws | None:
    """The draws by which a space would sample an architecture, for what others proposed.

    Decision after decision, kept are the beginnings that, completed by `replay`, make the
    architectures whose codes are nearest to the wanted one. Those whose decisions have different
    numbers of options do not compete: a wrong length can look good for long.

    Returns
    -------
    Draws or None
        None if they are not found: chance is part of them, or decisions work only together.
    """
    wanted = space.encode(architecture)
    beginnings: list[list[int]] = [[]]
    for place in range(MAX_PLACES):
        kinds: dict[tuple, list] = {}
        for beginning in beginnings:
            options = replay(space, beginning, rng)[1].options
            for option in range(options[place] if place < len(options) else 0):
                made, draws = replay(space, [*beginning, option], rng)
                if made == architecture:
                    return draws
                distance = float(np.abs(space.encode(made) - wanted).sum())
                found = kinds.setdefault(tuple(draws.options), [])
                found.append((distance, [*beginning, option]))
        nearest = sorted(sorted(found)[:BEAM] for found in kinds.values())[:MAX_KINDS]
        beginnings = [beginning for found in nearest for _, beginning in found]
    return None
