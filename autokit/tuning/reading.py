"""From what a user gives as search space to `Space`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autokit.names import did_you_mean
from autokit.tuning.dimensions import Categorical, Dimension, Float, Int
from autokit.tuning.drawing import as_dimension
from autokit.tuning.hypermodel import build_entries
from autokit.tuning.space import Entry, Space, entries_of

# by parameter: the dimension, and what makes the parameter's value of the plain one
Dimensions = dict[str, tuple[Dimension, Callable | None]]


def read_space(space: Any, estimator: Any) -> Space:
    """The search space that a user means.

    Parameters
    ----------
    space : mapping, list of mapping, Space or None
        Of parameter names to `Float`, `Int`, `Categorical`, a list or array of values, a ``range``,
        a distribution of scipy or of Optuna, or any object with ``rvs``. A list of mappings is
        their union; every trial is of one of them, all being equally likely at first.
    estimator : estimator
        Whose parameters they are. If its `model` is a keras-tuner function ``build(hp)``, its own
        parameters are searched too, as `build` says where `space` does not. Where a searched
        parameter is itself an estimator, its own parameters may be searched too: they exist with
        the choices that have them.

    Raises
    ------
    ValueError
        A name is no parameter of the estimator (the valid ones are listed), the space is empty, or
        an entry is nothing to choose from.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> space = read_space([{"kernel": ["linear"]}, {"kernel": ["rbf"], "gamma": [0.1, 1]}], SVC())
    >>> space.n_points
    3
    """
    if isinstance(space, Space):
        return space
    own = build_entries(estimator)
    if space is None and own:
        return Space(tuple(own))
    if space is None:
        raise ValueError(
            "The 'space' parameter is None: there is nothing to search. Give a dict of parameters, "
            "for example {'learning_rate': Float(1e-4, 1e-1, log=True)}."
        )
    parts = [space] if isinstance(space, Mapping) else space
    is_list = isinstance(parts, Sequence) and not isinstance(parts, str)
    if not is_list or not all(isinstance(part, Mapping) for part in parts):
        raise ValueError(
            "The 'space' parameter must be a dict of parameter names to Float, Int, Categorical, a "
            f"list of values or a distribution, or a list of such dicts; got {space!r}."
        )
    if not parts or not all(parts):
        where = f" in dict {list(parts).index({})} of its list" if len(parts) > 1 else ""
        raise ValueError(
            f"The 'space' parameter is empty{where}: there is nothing to search. Give at least one "
            "parameter, for example {'learning_rate': Float(1e-4, 1e-1, log=True)}."
        )
    names = {entry.parameter for entry in own}
    given = _union([_entries(part, estimator, names) for part in parts])
    searched = {entry.parameter for entry in given}
    return Space((*_without(own, searched), *given))


def _without(own: list[Entry], searched: set[str]) -> list[Entry]:
    """Entries of a ``build(hp)`` but for those that are searched otherwise.

    What depended on one of these asks `build` itself whether it is there.
    """
    gone = {entry.name for entry in own if entry.parameter in searched}
    kept = [entry for entry in own if entry.name not in gone]
    return [
        replace(
            entry,
            when=tuple((name, labels) for name, labels in entry.when if name not in gone),
            hyperparameter=None
            if any(name in gone for name, _ in entry.when)
            else entry.hyperparameter,
        )
        for entry in kept
    ]


def _entries(part: Mapping[str, Any], estimator: Any, own: set[str]) -> list[Entry]:
    dimensions = {name: _read(name, given) for name, given in part.items()}
    dimensions = _checked(dimensions, estimator, own)
    return entries_of({name: (name, *how) for name, how in dimensions.items()})


def _read(name: Any, given: Any) -> tuple[Dimension, Callable | None]:
    if not isinstance(name, str):
        raise ValueError(f"The 'space' parameter must have strings as names; got {name!r}.")
    if isinstance(given, Float | Int | Categorical):
        return given, None
    if isinstance(given, range) and len(given) and given.step > 0:
        return Int(given.start, given[-1], step=given.step), None
    if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes):
        if np.ndim(given) != 1 and isinstance(given, np.ndarray):
            raise ValueError(f"{name!r} in 'space' must be one-dimensional; got {given.shape}.")
        if not len(given):
            raise ValueError(f"{name!r} in 'space' is empty; give at least one value.")
        return Categorical(given), None
    drawn = as_dimension(given)
    if drawn is None:
        raise ValueError(
            f"{name!r} in 'space' must be Float, Int, Categorical, a list of values or a "
            f"distribution; got {given!r}. Write [{given!r}] for a single value."
        )
    return drawn


def _union(parts: list[list[Entry]]) -> tuple[Entry, ...]:
    """The entries of all parts, which exist when an entry without a parameter chooses the part."""
    if len(parts) == 1:
        return tuple(parts[0])
    n_parts_with = Counter(entry.parameter for part in parts for entry in part)
    choice = "space"
    while choice in n_parts_with:
        choice += "_"
    entries = [Entry(choice, "", Categorical(range(len(parts))))]
    for i, part in enumerate(parts):
        new = {e.name: e.name if n_parts_with[e.name] == 1 else f"{e.name} ({i})" for e in part}
        for entry in part:
            when = tuple((new[name], labels) for name, labels in entry.when)
            entries.append(replace(entry, name=new[entry.name], when=((choice, (i,)), *when)))
    return tuple(entries)


def _checked(dimensions: Dimensions, estimator: Any, own: set[str]) -> Dimensions:
    """The dimensions, those of searched estimators with the condition that they are there.

    Raises
    ------
    ValueError
        A name is no parameter.
    """
    valid = set(estimator.get_params(deep=True)) | own
    checked: Dimensions = {}
    for name in sorted(dimensions, key=lambda name: name.count("__")):
        dimension, decode = dimensions[name]
        owner = _searched_owner(name, dimensions)
        if owner is not None:
            dimension = _with_owner(name, dimension, owner, dimensions[owner][0])
        elif name not in valid:
            raise _unknown(name, valid, type(estimator).__name__)
        checked[name] = dimension, decode
    return {name: checked[name] for name in dimensions}


def _searched_owner(name: str, dimensions: Dimensions) -> str | None:
    """The nearest part of an estimator, itself searched, that a nested parameter belongs to."""
    while "__" in name:
        name = name.rpartition("__")[0]
        dimension = dimensions.get(name, (None,))[0]
        if isinstance(dimension, Categorical) and any(map(_parameters, dimension.choices)):
            return name
    return None


def _with_owner(name: str, dimension: Dimension, owner: str, owners: Categorical) -> Dimension:
    own = name[len(owner) + 2 :]
    has = [own in _parameters(choice) for choice in owners.choices]
    if not any(has):
        valid = {f"{owner}__{p}" for choice in owners.choices for p in _parameters(choice)}
        raise _unknown(name, valid, f"any choice of {owner!r}")
    if all(has) or owner in (dimension.when or {}):
        return dimension
    labels = [label for label, is_there in zip(owners.labels, has, strict=True) if is_there]
    return replace(dimension, when={**(dimension.when or {}), owner: labels})


def _parameters(choice: Any) -> Mapping[str, Any]:
    is_estimator = hasattr(choice, "get_params") and not isinstance(choice, type)
    return choice.get_params(deep=True) if is_estimator else {}


def _unknown(name: str, valid: set[str], where: str) -> ValueError:
    return ValueError(
        f"The 'space' parameter names {name!r}, which is no parameter of {where}; valid are "
        f"{', '.join(sorted(valid))}.{did_you_mean(name, valid)}"
    )
