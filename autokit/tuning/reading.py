"""From what a user gives as search space to `Space`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autokit.tuning.dimensions import Categorical, Dimension, Float, Int
from autokit.tuning.space import Space, entries_of


def read_space(space: Any, estimator: Any) -> Space:
    """The search space that a user means.

    Parameters
    ----------
    space : mapping, Space or None
        Of parameter names to `Float`, `Int`, `Categorical`, a list of values or a distribution of
        scipy.
    estimator : estimator
        Whose parameters they are.

    Raises
    ------
    ValueError
        A name is no parameter of the estimator (the valid ones are listed), or the space is empty.
    """
    if isinstance(space, Space):
        return space
    if not isinstance(space, Mapping):
        raise ValueError(
            "The 'space' parameter must be a dict of parameter names to Float, Int, Categorical "
            f"or a list of values; got a {type(space).__name__}."
        )
    dimensions = {name: (name, _dimension(name, given), None) for name, given in space.items()}
    _check_names(dimensions, estimator)
    return Space(tuple(entries_of(dimensions)))


def _dimension(name: str, given: Any) -> Dimension:
    if isinstance(given, Float | Int | Categorical):
        return given
    if isinstance(given, Sequence) and not isinstance(given, str):
        return Categorical(given)
    raise ValueError(f"{name!r} in 'space' is a {type(given).__name__}")


def _check_names(names, estimator: Any) -> None:
    valid = estimator.get_params(deep=True)
    unknown = [name for name in names if name not in valid]
    if unknown:
        raise ValueError(
            f"The 'space' parameter names {unknown[0]!r}, which is no parameter of "
            f"{type(estimator).__name__}; valid are {', '.join(sorted(valid))}."
        )
