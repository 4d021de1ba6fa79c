"""The search space that a keras-tuner function ``build(hp)`` has by itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from autokit.training.hyperbuild import HyperBuild, is_hypermodel
from autokit.tuning.dimensions import Categorical, Dimension, Float, Int
from autokit.tuning.hyperparameters import Reflected
from autokit.tuning.space import Entry

logger = logging.getLogger(__name__)

MAX_BUILDS = 50  # networks built to find parameters that only some values bring forth


def build_entries(estimator: Any) -> list[Entry]:
    """The entries of an estimator whose `model` is a ``build(hp)``, alone or last in a pipeline.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    list of Entry
        With the parameters ``model__name``, in the order in which `build` asks for them; empty
        for any other estimator.

    Raises
    ------
    ValueError
        `build` returns no model.
    """
    steps = getattr(estimator, "steps", None)
    prefix, last = (f"{steps[-1][0]}__", steps[-1][1]) if steps else ("", estimator)
    hyperbuild = HyperBuild.of(getattr(last, "model", None))
    if hyperbuild is None:
        return []
    return entries_from(hyperparameters_of(hyperbuild), f"{prefix}model__")


def hyperparameters_of(hyperbuild: HyperBuild) -> Any:
    """The space of a ``build(hp)``, as keras-tuner's ``HyperParameters``.

    As keras-tuner does, `build` is called until every conditional scope was active once. It is
    also called with each choice, and both bounds of each number, to find what is asked for only
    then; keras-tuner meets such parameters in the middle of a search.
    """
    from keras_tuner import HyperParameters

    known = HyperParameters()
    if is_hypermodel(hyperbuild.build):
        hyperbuild.build.declare_hyperparameters(known)
    for name, value in hyperbuild.get_params().items():
        known.values[name] = value
    hp = _built(hyperbuild, known, {})
    waiting, active = list(hp.inactive_scopes), list(hp.active_scopes)
    found_with = {id(parameter): {} for parameter in known.space}
    n_builds, tried = 1, set()
    while n_builds < MAX_BUILDS:
        waiting = [scope for scope in waiting if scope not in active]
        if waiting:
            scope = waiting.pop(0)
            values = {condition.name: condition.values[0] for condition in scope}
        else:
            values = _next_values(known, tried, found_with)
            if values is None:
                break
        n_builds += 1
        try:
            hp = _built(hyperbuild, known, values)
        except Exception as error:  # of a combination that no network can have
            logger.debug("build(hp) with %s raised %r", values, error)
            continue
        active += hp.active_scopes
        waiting += hp.inactive_scopes
        for parameter in known.space:
            found_with.setdefault(id(parameter), values)
    return known


def _built(hyperbuild: HyperBuild, known: Any, values: Mapping[str, Any]) -> Any:
    """Call `build` with defaults but for some values, and learn what it asks for."""
    hp = known.copy()
    hp.values |= values
    for parameter in hp.space:
        if not hp.is_active(parameter.name):
            hp.values.pop(parameter.name, None)
        elif hp.is_active(parameter):
            hp.values.setdefault(parameter.name, parameter.default)
    hyperbuild(hp)
    known.merge([new for new in hp.space if not known._exists(new.name, new.conditions)], False)
    return hp


def _next_values(known: Any, tried: set, found_with: Mapping[int, dict]) -> dict | None:
    """A value that was not tried yet, with those that brought its parameter forth."""
    for parameter in known.space:
        for value in _telling_values(parameter):
            if (id(parameter), value) not in tried:
                tried.add((id(parameter), value))
                return found_with[id(parameter)] | {parameter.name: value}
    return None


def _telling_values(parameter: Any) -> list:
    if hasattr(parameter, "min_value"):
        return [parameter.max_value, parameter.min_value]
    return list(parameter.values)


def entries_from(hyperparameters: Any, prefix: str) -> list[Entry]:
    """Entries for keras-tuner's hyperparameters, named ``prefix + name``."""
    entries: list[Entry] = []
    for parameter in hyperparameters.space:
        name = f"{prefix}{parameter.name}"
        same = sum(entry.parameter == name for entry in entries)
        dimension, decode = _dimension(parameter)
        entries.append(
            Entry(
                f"{name} ({same})" if same else name,
                name,
                dimension,
                tuple(_condition(c, parameter, entries) for c in parameter.conditions),
                decode,
                parameter,
            )
        )
    return entries


def _condition(condition: Any, parameter: Any, entries: list[Entry]) -> tuple[str, tuple]:
    """What an entry waits for; of several of one name, the one within the same conditions."""
    owners = [
        entry
        for entry in entries
        if entry.hyperparameter.name == condition.name
        and all(c in parameter.conditions for c in entry.hyperparameter.conditions)
    ]
    return owners[-1].name, tuple(condition.values)


def _dimension(parameter: Any) -> tuple[Dimension, Any]:
    if not hasattr(parameter, "min_value"):
        return Categorical(list(parameter.values)), None
    kind = Float if type(parameter).__name__ == "Float" else Int
    low, high, step = parameter.min_value, parameter.max_value, parameter.step
    if parameter.sampling == "linear":
        if step is None:
            return kind(low, high), None
        return kind(low, high, step=step), None
    if step is not None:  # a factor
        plain = int if kind is Int else float
        return Categorical([plain(value) for value in parameter.values]), None
    decode = Reflected(low, high) if parameter.sampling == "reverse_log" else None
    return kind(low, high, log=True), decode
