"""The search space that every tuner is given, and the two ways in and out of it.

A trial's *values* are plain (numbers, and labels of choices), by the entry's name: what tuners
propose and storages keep. Its *parameters* are what the estimator gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from autokit.names import described, did_you_mean
from autokit.tuning.dimensions import Categorical, Dimension, Float, Int, grid_value, position


@dataclass(frozen=True)
class Entry:
    """One searched value.

    Attributes
    ----------
    name : str
        Unique in the space.
    parameter : str
        The estimator's parameter, ``step__name`` inside a pipeline. Empty for a value that
        decides which others there are, and is no parameter itself.
    dimension : Float, Int or Categorical
    when : tuple of (name, labels)
        Other entries, all before this one, and the labels with which this one exists.
    decode : callable or None
        From the plain value to the parameter's; None for numbers and choices as they are. Its
        ``repr`` is part of what a storage remembers of the space.
    hyperparameter : keras_tuner.HyperParameter or None
        What a keras-tuner function ``build(hp)`` has asked for, for keras-tuner's own oracles.
    """

    name: str
    parameter: str
    dimension: Dimension
    when: tuple[tuple[str, tuple], ...] = ()
    decode: Callable[[Any], Any] | None = None
    hyperparameter: Any = field(default=None, compare=False)

    def is_active(self, values: Mapping[str, Any]) -> bool:
        """Whether it exists beside these values."""
        return all(values.get(name, _ABSENT) in labels for name, labels in self.when)

    def parameter_value(self, value: Any) -> Any:
        """What the estimator gets for a plain value."""
        dimension = self.dimension
        if isinstance(dimension, Categorical):
            value = dimension.choices[dimension.labels.index(value)]
        return value if self.decode is None else self.decode(value)


_ABSENT = object()


@dataclass(frozen=True)
class Space:
    """Entries, those that others depend on before them.

    Raises
    ------
    ValueError
        There are no entries.
    """

    entries: tuple[Entry, ...]

    def __post_init__(self):
        if not self.entries:
            raise ValueError(
                "The 'space' parameter is empty: there is nothing to search. Give at least one "
                "parameter, for example {'learning_rate': Float(1e-4, 1e-1, log=True)}."
            )

    def __iter__(self):
        return iter(self.entries)

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Draw the values of an Optuna trial, conditions respected."""
        values: dict[str, Any] = {}
        for entry in self.entries:
            if entry.is_active(values):
                values[entry.name] = _suggest(trial, entry.name, entry.dimension)
        return values

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The estimator's parameters for a trial's values."""
        return {
            entry.parameter: entry.parameter_value(values[entry.name])
            for entry in self.entries
            if entry.name in values and entry.parameter
        }

    def distributions(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Optuna's distributions of the entries that a trial has."""
        return {e.name: distribution(e.dimension) for e in self.entries if e.name in values}

    def describe(self) -> list:
        """The space as JSON values, the same in the next process."""
        return [
            [e.name, e.parameter, _described(e), [[name, list(labels)] for name, labels in e.when]]
            for e in self.entries
        ]

    def points(self) -> Iterator[dict[str, Any]]:
        """The values of every point, one after the other; for a finite space."""
        return self._points(0, {})

    @property
    def n_points(self) -> float:
        """Different points in it; infinite where a number has no step."""
        return self._count_points(0, {})

    def _points(self, i: int, values: dict) -> Iterator[dict[str, Any]]:
        if i == len(self.entries):
            yield values
        elif not self.entries[i].is_active(values):
            yield from self._points(i + 1, values)
        else:
            for value in plain_values(self.entries[i].dimension):
                yield from self._points(i + 1, values | {self.entries[i].name: value})

    def _count_points(self, i: int, values: dict) -> float:
        if i == len(self.entries):
            return 1
        entry = self.entries[i]
        if not entry.is_active(values):
            return self._count_points(i + 1, values)
        n = _count(entry.dimension)
        # values that nothing depends on are counted together
        asked = {v for e in self.entries for name, vs in e.when if name == entry.name for v in vs}
        n_points = sum(self._count_points(i + 1, values | {entry.name: v}) for v in asked)
        if n > len(asked):
            n_points += (n - len(asked)) * self._count_points(i + 1, values)
        return n_points


def entries_of(dimensions: Mapping[str, tuple[str, Dimension, Callable | None]]) -> list[Entry]:
    """Entries in an order in which conditions look back, from dimensions by name.

    Raises
    ------
    ValueError
        A condition names a parameter that is not searched, a value that it cannot have, or goes
        round in a circle.
    """
    when = {
        name: tuple(_condition(name, other, wanted, dimensions) for other, wanted in given.items())
        for name, (_, dimension, _) in dimensions.items()
        for given in [dimension.when or {}]
    }
    ordered: list[Entry] = []
    done: set[str] = set()
    while len(ordered) < len(dimensions):
        ready = [n for n in dimensions if n not in done and all(o in done for o, _ in when[n])]
        if not ready:
            raise ValueError(
                "The conditions ('when') of the search space go round in a circle: "
                f"{', '.join(n for n in dimensions if n not in done)}."
            )
        for name in ready:
            parameter, dimension, decode = dimensions[name]
            ordered.append(Entry(name, parameter, dimension, when[name], decode))
            done.add(name)
    return ordered


def _condition(name, other, wanted, dimensions) -> tuple[str, tuple]:
    if other not in dimensions:
        raise ValueError(
            f"{name!r} in 'space' depends on {other!r}, which is not searched; known are "
            f"{', '.join(map(repr, dimensions))}.{did_you_mean(other, dimensions)}"
        )
    _, dimension, decode = dimensions[other]
    if decode is not None or _count(dimension) == math.inf:
        raise ValueError(
            f"{name!r} in 'space' waits for a value of {other!r}, which has no values to wait "
            "for; make it a Categorical, an Int or a Float with a step."
        )
    values = plain_values(dimension)
    asked = [wanted]
    if _index(dimension, wanted) is None and _is_several(wanted):
        asked = list(wanted)
    found = [_index(dimension, value) for value in asked]
    if not found or None in found:
        instead = repr(asked[found.index(None)]) if found else "no value"
        raise ValueError(
            f"{name!r} in 'space' waits for {other}={instead}, which is not among {values!r}."
        )
    # in one order: a set has another in each process
    return other, tuple(values[i] for i in sorted({i for i in found if i is not None}))


def _is_several(wanted: Any) -> bool:
    kinds = Sequence | set | frozenset | np.ndarray
    return isinstance(wanted, kinds) and not isinstance(wanted, str)


def _index(dimension: Dimension, value: Any) -> int | None:
    """Where a value, or a choice's label, is among the plain values of a dimension."""
    values = plain_values(dimension)
    if isinstance(dimension, Categorical):
        i = position(value, dimension.choices)
        return position(value, values) if i is None and isinstance(value, str) else i
    if not isinstance(value, Real) or isinstance(value, bool):
        return None
    if isinstance(dimension, Float):
        near = grid_value(dimension, float(value))
        value = near if math.isclose(near, value, rel_tol=1e-9, abs_tol=1e-12) else value
    return values.index(value) if value in values else None


def _suggest(trial: Any, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Categorical):
        return trial.suggest_categorical(name, dimension.labels)
    draw = trial.suggest_float if isinstance(dimension, Float) else trial.suggest_int
    settings = {"log": dimension.log} | ({"step": dimension.step} if not dimension.log else {})
    value = draw(name, dimension.low, dimension.high, **settings)
    return grid_value(dimension, value) if isinstance(dimension, Float) else value


def distribution(dimension: Dimension) -> Any:
    """Optuna's distribution for a dimension."""
    from optuna import distributions as known

    if isinstance(dimension, Categorical):
        return known.CategoricalDistribution(dimension.labels)
    kind = known.FloatDistribution if isinstance(dimension, Float) else known.IntDistribution
    return kind(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def plain_values(dimension: Dimension) -> Sequence:
    """All values of a dimension that has finitely many."""
    if isinstance(dimension, Categorical):
        return dimension.labels
    if isinstance(dimension, Int):
        return range(dimension.low, dimension.high + 1, dimension.step)
    if dimension.step is None:
        if dimension.low < dimension.high:
            raise ValueError(f"{dimension!r} has no step, and so no list of values.")
        return [dimension.low]
    n = round((dimension.high - dimension.low) / dimension.step)
    return [grid_value(dimension, dimension.low + i * dimension.step) for i in range(n + 1)]


def _count(dimension: Dimension) -> float:
    if isinstance(dimension, Float) and dimension.step is None and dimension.low < dimension.high:
        return math.inf
    return len(plain_values(dimension))


def _described(entry: Entry) -> list:
    dimension = entry.dimension
    how = [] if entry.decode is None else [described(entry.decode)]
    if isinstance(dimension, Categorical):
        return ["Categorical", list(dimension.labels), *how]
    numbers = [dimension.low, dimension.high, dimension.step]
    return [type(dimension).__name__, *numbers, dimension.log, *how]
