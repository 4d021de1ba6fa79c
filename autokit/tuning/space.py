"""The search space that every tuner is given, and the two ways in and out of it.

A trial's *values* are plain (numbers, and labels of choices), by the entry's name: what tuners
propose and storages keep. Its *parameters* are what the estimator gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autokit.tuning.dimensions import Categorical, Dimension, Float, Int


@dataclass(frozen=True)
class Entry:
    """One searched value.

    Attributes
    ----------
    name : str
        Unique in the space.
    parameter : str
        The estimator's parameter, ``step__name`` inside a pipeline.
    dimension : Float, Int or Categorical
    when : tuple of (name, labels)
        Other entries, all before this one, and the labels with which this one exists.
    decode : callable or None
        From the plain value to the parameter's; None for numbers and choices as they are.
    """

    name: str
    parameter: str
    dimension: Dimension
    when: tuple[tuple[str, tuple], ...] = ()
    decode: Callable[[Any], Any] | None = None

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
            [e.name, e.parameter, _described(e.dimension), [[n, list(ls)] for n, ls in e.when]]
            for e in self.entries
        ]

    @property
    def n_points(self) -> float:
        """Different points in it; infinite where a number has no step."""
        total = 0.0
        counts = {e.name: _count(e.dimension) for e in self.entries}
        if not any(e.when for e in self.entries):
            total = 1.0
            for n in counts.values():
                total *= n
            return total
        return self._count_points(0, {})

    def _count_points(self, i: int, values: dict) -> float:
        if i == len(self.entries):
            return 1.0
        entry = self.entries[i]
        if not entry.is_active(values):
            return self._count_points(i + 1, values)
        n = _count(entry.dimension)
        watched = {name for e in self.entries for name, _ in e.when}
        if entry.name not in watched or n == float("inf"):
            return n * self._count_points(i + 1, values)
        return sum(
            self._count_points(i + 1, values | {entry.name: value})
            for value in plain_values(entry.dimension)
        )


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
            f"{', '.join(map(repr, dimensions))}."
        )
    is_several = isinstance(wanted, Sequence | set | frozenset) and not isinstance(wanted, str)
    wanted = tuple(wanted) if is_several else (wanted,)
    dimension = dimensions[other][1]
    if not isinstance(dimension, Categorical):
        return other, wanted
    unknown = [w for w in wanted if w not in dimension.choices]
    if unknown:
        raise ValueError(
            f"{name!r} in 'space' waits for {other}={unknown[0]!r}, which is not among its "
            f"choices {list(dimension.choices)!r}."
        )
    return other, tuple(dimension.labels[dimension.choices.index(w)] for w in wanted)


def _suggest(trial: Any, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Categorical):
        return trial.suggest_categorical(name, dimension.labels)
    draw = trial.suggest_float if isinstance(dimension, Float) else trial.suggest_int
    settings = {"log": dimension.log} | ({"step": dimension.step} if not dimension.log else {})
    return draw(name, dimension.low, dimension.high, **settings)


def distribution(dimension: Dimension) -> Any:
    """Optuna's distribution for a dimension."""
    from optuna import distributions as known

    if isinstance(dimension, Float):
        return known.FloatDistribution(
            float(dimension.low), float(dimension.high), log=dimension.log, step=dimension.step
        )
    if isinstance(dimension, Int):
        return known.IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step)
        )
    return known.CategoricalDistribution(dimension.labels)


def plain_values(dimension: Dimension) -> list:
    """All values of a dimension that has finitely many."""
    if isinstance(dimension, Categorical):
        return list(dimension.labels)
    if isinstance(dimension, Int):
        return list(range(dimension.low, dimension.high + 1, dimension.step))
    n = int(round((dimension.high - dimension.low) / dimension.step, 9))
    return [dimension.low + i * dimension.step for i in range(n + 1)]


def _count(dimension: Dimension) -> float:
    if isinstance(dimension, Categorical):
        return len(dimension.choices)
    if isinstance(dimension, Float) and dimension.step is None:
        return 1 if dimension.low == dimension.high else float("inf")
    return len(plain_values(dimension))


def _described(dimension: Dimension) -> list:
    if isinstance(dimension, Categorical):
        return ["Categorical", list(dimension.labels)]
    numbers = [dimension.low, dimension.high, dimension.step]
    plain = [None if n is None else (int(n) if n == int(n) else float(n)) for n in numbers]
    return [type(dimension).__name__, *plain, dimension.log]
