"""The search space in keras-tuner's words, and its values back in ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autokit.tuning.dimensions import Categorical, Float, Int, grid_value
from autokit.tuning.space import Entry, Space

# what changes neither the network nor the compiled training of it
_CHEAP = {"learning_rate", "lr", "batch_size", "epochs", "random_state", "seed"}


@dataclass(frozen=True)
class Reflected:
    """``low + high - value``: keras-tuner's ``"reverse_log"`` is the logarithm seen from above."""

    low: float
    high: float

    def __call__(self, value: Any) -> Any:
        return self.low + self.high - value


def to_hyperparameters(space: Space, by_architecture: bool = False) -> Any:
    """The space as keras-tuner's ``HyperParameters``.

    Parameters
    ----------
    space : Space
    by_architecture : bool, default=False
        Put what leaves the compiled training as it is behind the rest, where a grid runs through
        it first: points of one architecture then follow one another.
    """
    from keras_tuner import HyperParameters

    hyperparameters = HyperParameters()
    entries = _by_architecture(space.entries) if by_architecture else space.entries
    hyperparameters.merge([_hyperparameter(entry, space) for entry in entries])
    return hyperparameters


def oracle_name(entry: Entry) -> str:
    """The name of an entry among keras-tuner's hyperparameters."""
    return entry.name if entry.hyperparameter is None else entry.hyperparameter.name


def plain_value(entry: Entry, value: Any) -> Any:
    """keras-tuner's value as the plain value of an entry, exactly one that Optuna allows.

    Raises
    ------
    ValueError
        The entry cannot have this value: the oracle searches other bounds or choices.
    """
    dimension = entry.dimension
    if isinstance(dimension, Categorical):
        return _label(entry, value)
    if isinstance(entry.decode, Reflected):
        value = entry.decode(value)
    low, high = dimension.low, dimension.high
    slack = 1e-6 * max(high - low, abs(high), 1e-300)  # of powers and logarithms
    # keras-tuner's Int ends at high + 1, which its Bayesian search does propose
    above = 1 if isinstance(dimension, Int) else slack
    if not (isinstance(value, int | float) and low - slack <= value <= high + above):
        raise _foreign(entry, value, f"between {low!r} and {high!r}")
    value = min(high, max(low, value))
    if isinstance(dimension, Float):
        return grid_value(dimension, float(value))
    return low + round((value - low) / dimension.step) * dimension.step


def _label(entry: Entry, value: Any) -> Any:
    labels = entry.dimension.labels
    if _by_index(entry):
        return labels[int(value)]
    if value in labels:
        return labels[labels.index(value)]
    numbers = [n for n in labels if isinstance(n, int | float)]
    if len(numbers) == len(labels) and isinstance(value, int | float):
        nearest = min(labels, key=lambda n: abs(n - value))
        if math.isclose(nearest, value, rel_tol=1e-6) or round(value) == nearest:
            return nearest
    raise _foreign(entry, value, f"one of {list(labels)!r}")


def _foreign(entry: Entry, value: Any, wanted: str) -> ValueError:
    return ValueError(
        f"The oracle proposes {value!r} for {entry.name!r}, which 'space' wants to be {wanted}; "
        "leave the parameter out of the oracle's own hyperparameters, or narrow it there."
    )


def _by_index(entry: Entry) -> bool:
    """Whether keras-tuner is given the places of choices: it wants one plain type of value."""
    if entry.hyperparameter is not None:
        return False
    labels = entry.dimension.labels
    return len({type(n) for n in labels}) > 1 or type(labels[0]) not in (bool, int, float, str)


def _hyperparameter(entry: Entry, space: Space) -> Any:
    from keras_tuner.src.engine import conditions
    from keras_tuner.src.engine.hyperparameters import hp_types

    if entry.hyperparameter is not None:
        return entry.hyperparameter
    by_name = {e.name: e for e in space}
    settings = {
        "name": entry.name,
        "conditions": [
            conditions.Parent(oracle_name(by_name[n]), _condition_values(by_name[n], wanted))
            for n, wanted in entry.when
        ],
    }
    dimension = entry.dimension
    if isinstance(dimension, Categorical):
        labels = list(dimension.labels)
        values = list(range(len(labels))) if _by_index(entry) else labels
        return hp_types.Choice(values=values, **settings)
    kind = hp_types.Float if isinstance(dimension, Float) else hp_types.Int
    return kind(
        min_value=dimension.low,
        max_value=dimension.high,
        step=None if dimension.log else dimension.step,
        sampling="log" if dimension.log else "linear",
        **settings,
    )


def _condition_values(entry: Entry, labels: Sequence) -> list:
    if isinstance(entry.dimension, Categorical) and _by_index(entry):
        return [entry.dimension.labels.index(label) for label in labels]
    return list(labels)


def _by_architecture(entries: Sequence[Entry]) -> list[Entry]:
    """Cheap entries last, those that others wait for before these."""
    early: set[str] = set()
    for entry in reversed(entries):
        if entry.name in early or _last_name(entry.parameter) not in _CHEAP:
            early |= {entry.name, *(name for name, _ in entry.when)}
    return [e for e in entries if e.name in early] + [e for e in entries if e.name not in early]


def _last_name(parameter: str) -> str:
    return parameter.replace("/", "__").rpartition("__")[2]
