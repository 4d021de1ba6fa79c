"""What one parameter of a search may be: `Float`, `Int`, `Categorical`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True)
class Float:
    """A real number between two bounds.

    Parameters
    ----------
    low, high : float
        Inclusive bounds.
    log : bool, default=False
        Uniform in the logarithm; `low` must then be positive.
    step : float or None, default=None
        Only ``low, low + step, ...``; not with `log`.
    when : dict of str to value or sequence of values, default=None
        The parameter exists only when each of these others has one of its values.

    Raises
    ------
    ValueError
        The bounds are swapped or not finite, or a logarithm of what is not positive is asked for.

    Examples
    --------
    >>> from autokit.tuning import Float
    >>> Float(1e-4, 1e-1, log=True)
    Float(low=0.0001, high=0.1, log=True, step=None, when=None)
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: Mapping[str, Any] | None = None

    def __post_init__(self):
        _check_bounds(self, Real, "a number")
        if self.step is not None and not (isinstance(self.step, Real) and self.step > 0):
            raise ValueError(f"The step of {_short(self)} must be positive; got {self.step!r}.")
        if self.log and self.step is not None:
            raise ValueError(f"{_short(self)} cannot have both log=True and a step; choose one.")


@dataclass(frozen=True)
class Int:
    """A whole number between two bounds.

    Parameters
    ----------
    low, high : int
        Inclusive bounds; what the last step does not reach is left out.
    step : int, default=1
        Only ``low, low + step, ...``; 1 with `log`.
    log : bool, default=False
        Uniform in the logarithm; `low` must then be positive.
    when : dict of str to value or sequence of values, default=None
        The parameter exists only when each of these others has one of its values.

    Raises
    ------
    ValueError
        As `Float`.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False
    when: Mapping[str, Any] | None = None

    def __post_init__(self):
        _check_bounds(self, Integral, "a whole number")
        if not isinstance(self.step, Integral) or self.step < 1:
            raise ValueError(
                f"The step of {_short(self)} must be a whole number of at least 1; got "
                f"{self.step!r}."
            )
        if self.log and self.step != 1:
            raise ValueError(f"{_short(self)} cannot have both log=True and a step; choose one.")
        object.__setattr__(self, "high", self.low + (self.high - self.low) // self.step * self.step)


@dataclass(frozen=True)
class Categorical:
    """One of several values, in no order.

    Parameters
    ----------
    choices : sequence
        Any objects; of those that are not None, bool, int, float or str tables show the ``repr``.
    when : dict of str to value or sequence of values, default=None
        The parameter exists only when each of these others has one of its values.

    Raises
    ------
    ValueError
        There are no choices.

    Examples
    --------
    >>> from autokit.tuning import Categorical, Float
    >>> space = {
    ...     "optimizer": Categorical(["adam", "sgd"]),
    ...     "learning_rate": Float(1e-3, 1, log=True, when={"optimizer": "sgd"}),
    ... }
    """

    choices: Sequence[Any]
    when: Mapping[str, Any] | None = None

    def __post_init__(self):
        if isinstance(self.choices, str) or not hasattr(self.choices, "__len__"):
            raise ValueError(
                f"Categorical needs a list of choices; got {self.choices!r}. Write "
                f"Categorical([{self.choices!r}]) for a single one."
            )
        if len(self.choices) == 0:
            raise ValueError("Categorical needs at least one choice; got none.")
        object.__setattr__(self, "choices", tuple(self.choices))

    @property
    def labels(self) -> tuple:
        """What stands for each choice in tables and storages: plain values, all different."""
        plain = all(c is None or isinstance(c, bool | int | float | str) for c in self.choices)
        if plain and len(set(self.choices)) == len(self.choices):  # 1 and True are one to Optuna
            return self.choices
        texts = [_label(c) for c in self.choices]
        return tuple(
            text if texts.count(text) == 1 else f"{text} ({i})" for i, text in enumerate(texts)
        )


Dimension = Float | Int | Categorical


def _label(choice: Any) -> str:
    name = getattr(choice, "__qualname__", None)
    text = " ".join((name or repr(choice)).split())
    return text if " at 0x" not in text else type(choice).__qualname__


def _short(dimension: Float | Int) -> str:
    return f"{type(dimension).__name__}({dimension.low!r}, {dimension.high!r})"


def _check_bounds(dimension: Float | Int, kind: type, what: str) -> None:
    low, high = dimension.low, dimension.high
    for name, bound in (("low", low), ("high", high)):
        if not isinstance(bound, kind) or isinstance(bound, bool) or not math.isfinite(bound):
            raise ValueError(f"{name} of {_short(dimension)} must be {what}; got {bound!r}.")
    if low > high:
        raise ValueError(
            f"low must not be above high in {_short(dimension)}; write "
            f"{type(dimension).__name__}({high!r}, {low!r})."
        )
    if dimension.log and low <= 0:
        raise ValueError(
            f"low of {_short(dimension)} must be above 0 for log=True; raise it, or leave log out."
        )
