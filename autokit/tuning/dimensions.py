"""What one parameter of a search may be: `Float`, `Int`, `Categorical`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np


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
        Only ``low, low + step, ...``; not with `log`. What the last step does not reach is left
        out of the bounds.
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
    when: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self):
        _check_bounds(self, Real, "a finite number", float)
        if self.step is None:
            return
        is_number = isinstance(self.step, Real) and not isinstance(self.step, bool)
        if not is_number or not 0 < self.step < math.inf:
            raise ValueError(f"The step of {_short(self)} must be positive; got {self.step!r}.")
        if self.log:
            raise ValueError(f"{_short(self)} cannot have both log=True and a step; choose one.")
        _set(self, step=float(self.step))
        _set(self, high=grid_value(self, self.high))


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
    when: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self):
        _check_bounds(self, Integral, "a whole number", int)
        is_number = isinstance(self.step, Integral) and not isinstance(self.step, bool)
        if not is_number or self.step < 1:
            raise ValueError(
                f"The step of {_short(self)} must be a whole number of at least 1; got "
                f"{self.step!r}."
            )
        if self.log and self.step != 1:
            raise ValueError(f"{_short(self)} cannot have both log=True and a step; choose one.")
        _set(self, step=int(self.step))
        _set(self, high=self.low + (self.high - self.low) // self.step * self.step)


@dataclass(frozen=True)
class Categorical:
    """One of several values, in no order.

    Parameters
    ----------
    choices : sequence
        Any objects, repeated ones once. Storages and plots show the ``repr`` of those that are
        not None, bool, int, float or str.
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

    choices: Sequence[Any] = field(compare=False)
    when: Mapping[str, Any] | None = field(default=None, hash=False)
    # What stands for each choice in tables and storages: plain values, all different
    labels: tuple[Any, ...] = field(init=False, repr=False)

    def __post_init__(self):
        if isinstance(self.choices, str | bytes) or not _is_ordered(self.choices):
            raise ValueError(
                f"Categorical needs a list of choices; got {self.choices!r}. Write "
                f"Categorical([{self.choices!r}]) for a single one."
            )
        choices: list[Any] = []
        for choice in self.choices:
            if not any(_is_same(choice, known) for known in choices):
                choices.append(choice)
        if not choices:
            raise ValueError("Categorical needs at least one choice; got none.")
        _set(self, choices=tuple(choices), labels=_labels(choices), when=_copied(self.when))


Dimension = Float | Int | Categorical


def grid_value(dimension: Float, value: float) -> float:
    """The nearest of ``low, low + step, ...`` below the upper bound, free of rounding errors.

    Examples
    --------
    >>> grid_value(Float(0.1, 0.9, step=0.1), 0.1 + 2 * 0.1)
    0.3
    """
    if dimension.step is None:
        return value
    low, high, step = (Decimal(str(n)) for n in (dimension.low, dimension.high, dimension.step))
    n = min(round((Decimal(str(value)) - low) / step), (high - low) // step)
    return float(low + max(n, 0) * step)


def position(value: Any, choices: Sequence[Any]) -> int | None:
    """Where a value is among choices: 1 is not True, and only then 1.0; arrays are themselves."""
    for is_same in (_is_same, _is_equal_number):
        for i, choice in enumerate(choices):
            if is_same(value, choice):
                return i
    return None


def _is_same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    a, b = _unboxed(a), _unboxed(b)
    try:
        return type(a) is type(b) and (bool(a == b) or (a != a and b != b))
    except ValueError:  # arrays have no one truth
        return False


def _is_equal_number(a: Any, b: Any) -> bool:
    numbers = [isinstance(n, Real) and not isinstance(n, bool) for n in (a, b)]
    return all(numbers) and a == b


def _unboxed(value: Any) -> Any:
    """Python's own number or string for NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


def _is_ordered(values: Any) -> bool:
    is_collection = hasattr(values, "__len__") and hasattr(values, "__iter__")
    return is_collection and not isinstance(values, Mapping | set | frozenset)


def _labels(choices: Sequence[Any]) -> tuple:
    plain = [_unboxed(choice) for choice in choices]
    labels = [c if _is_plain(c) else _text(c) for c in plain]
    if len(set(labels)) < len(labels):  # 1 and True are one to a dict, and to Optuna
        labels = [c if isinstance(c, str) else _text(c) for c in plain]
    return tuple(
        label if labels.count(label) == 1 else f"{label} ({i})" for i, label in enumerate(labels)
    )


def _is_plain(choice: Any) -> bool:
    if isinstance(choice, float):
        return math.isfinite(choice)
    return choice is None or isinstance(choice, bool | int | str)


def _text(choice: Any) -> str:
    name = getattr(choice, "__qualname__", None)
    text = " ".join((name or repr(choice)).split())
    return text if " at 0x" not in text else type(choice).__qualname__


def _short(dimension: Float | Int) -> str:
    return f"{type(dimension).__name__}({dimension.low!r}, {dimension.high!r})"


def _copied(when: Any) -> dict[str, Any] | None:
    if when is None:
        return None
    if not isinstance(when, Mapping):
        raise ValueError(
            "when must be a dict of another parameter's name to the value, or the values, with "
            f"which this one exists; got {when!r}."
        )
    return dict(when)


def _set(dimension: Dimension, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(dimension, name, value)


def _check_bounds(dimension: Float | Int, kind: type, what: str, plain: type) -> None:
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
    _set(dimension, low=plain(low), high=plain(high), when=_copied(dimension.when))
