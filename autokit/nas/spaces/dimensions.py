"""Dimensions: the independent decisions that a product space is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Dimension(Protocol):
    """One decision of an architecture."""

    n_codes: int
    smallest: Any

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw a value."""

    def mutate(self, value: Any, rng: np.random.Generator) -> Any:
        """Return another value one step away, or the same if there is only one."""

    def nearest(self, value: Any) -> Any:
        """Return the dimension's value that is closest to `value`."""

    def encode(self, value: Any) -> np.ndarray:
        """Return a one-hot code of length ``n_codes``."""


@dataclass(frozen=True)
class Choice:
    """One of several values.

    Parameters
    ----------
    values : tuple
        At least one str, int, float, bool or None.
    """

    values: tuple

    def __post_init__(self):
        if not self.values:
            raise ValueError("values of a Choice must not be empty; give at least one value.")

    @property
    def n_codes(self) -> int:
        """Length of the code."""
        return len(self.values)

    @property
    def smallest(self):
        """The first value."""
        return self.values[0]

    def sample(self, rng):
        """Draw uniformly."""
        return self.values[rng.integers(len(self.values))]

    def mutate(self, value, rng):
        """Draw uniformly among the others."""
        others = [v for v in self.values if v != value]
        return others[rng.integers(len(others))] if others else value

    def nearest(self, value):
        """The closest number, or the first value if `value` is no number and not among them."""
        if value in self.values:
            return value
        numbers = [v for v in self.values if _is_number(v)]
        if _is_number(value) and numbers:
            return min(numbers, key=lambda v: abs(v - value))
        return self.values[0]

    def encode(self, value):
        """One-hot."""
        code = np.zeros(len(self.values))
        code[self.values.index(value)] = 1.0
        return code


@dataclass(frozen=True)
class Choices:
    """A tuple of values, of variable length: one decision per layer or stage.

    A mutation changes one value, or inserts, or drops one.

    Parameters
    ----------
    values : tuple
        What each element may be.
    max_length : int
    min_length : int, default=1
    """

    values: tuple
    max_length: int
    min_length: int = 1

    def __post_init__(self):
        if not self.values:
            raise ValueError("values of Choices must not be empty; give at least one value.")
        if not 0 <= self.min_length <= self.max_length:
            raise ValueError(
                f"min_length and max_length must satisfy 0 <= min_length <= max_length; got "
                f"{self.min_length} and {self.max_length}."
            )

    @property
    def n_codes(self) -> int:
        """Length of the code: a block of ``len(values)`` for each possible element."""
        return self.max_length * len(self.values)

    @property
    def smallest(self):
        """The fewest elements, each the first value."""
        return self.values[:1] * self.min_length

    def sample(self, rng):
        """Draw the length, then the elements, uniformly."""
        length = rng.integers(self.min_length, self.max_length + 1)
        return tuple(self._element.sample(rng) for _ in range(length))

    def mutate(self, value, rng):
        """Change, insert or drop one element."""
        moves = []
        if len(value) > 0 and len(self.values) > 1:
            moves.append(self._change)
        if len(value) < self.max_length:
            moves.append(self._insert)
        if len(value) > self.min_length:
            moves.append(self._drop)
        return moves[rng.integers(len(moves))](value, rng) if moves else value

    def nearest(self, value):
        """Each element's nearest, shortened or repeated to an allowed length."""
        value = tuple(self._element.nearest(v) for v in value[: self.max_length])
        missing = self.min_length - len(value)
        return value + (value[-1] if value else self.values[0],) * max(0, missing)

    def encode(self, value):
        """One-hot per place; zeros where there is no element."""
        code = np.zeros((self.max_length, len(self.values)))
        for row, v in zip(code, value, strict=False):
            row[self.values.index(v)] = 1.0
        return code.ravel()

    @property
    def _element(self):
        return Choice(self.values)

    def _change(self, value, rng):
        at = rng.integers(len(value))
        return (*value[:at], self._element.mutate(value[at], rng), *value[at + 1 :])

    def _insert(self, value, rng):
        at = rng.integers(len(value) + 1)
        return (*value[:at], self._element.sample(rng), *value[at:])

    def _drop(self, value, rng):
        at = rng.integers(len(value))
        return (*value[:at], *value[at + 1 :])


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
