"""What strategies and optimizers remember, made wider and narrower with the output layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autokit._backend import keras
from autokit.continual.network import cut, placed, shapes_of
from autokit.continual.protocols import PerUnit, State
from autokit.training import FitConfig
from autokit.training.fit_loop import make_optimizer

KEPT_SHAPES = 64  # networks and optimizers whose shapes are remembered
_shapes: dict[tuple, list[tuple]] = {}


def widened(state: State, shapes: Sequence[tuple], places: np.ndarray, n_units: int) -> State:
    """A strategy's state for more output units.

    Parameters
    ----------
    state : dict
    shapes : sequence of tuple
        Of the wider network's trainable parameters.
    places : np.ndarray of int
        The new place of each old unit.
    n_units : int
        Of the wider network.
    """

    def wider(part):
        if isinstance(part, PerUnit):
            shape = (*part.values.shape[:-1], n_units)
            return PerUnit(placed(part.values, shape, places, np.nan))
        return widened_values(part, shapes, places)

    return _each(state, wider)


def narrowed(state: State, shapes: Sequence[tuple], n_units: int) -> State:
    """The inverse of `widened` where the old units are the first ones."""

    def narrower(part):
        if isinstance(part, PerUnit):
            return PerUnit(part.values[..., :n_units])
        return narrowed_values(part, shapes)

    return _each(state, narrower)


def widened_values(values: Sequence, shapes: Sequence[tuple], places: np.ndarray) -> list:
    """Values of variables for a wider network, zero for its new units."""
    return [placed(np.asarray(v), s, places) for v, s in zip(values, shapes, strict=True)]


def narrowed_values(values: Sequence, shapes: Sequence[tuple]) -> list:
    """The inverse of `widened_values` where the old units are the first ones."""
    return [cut(np.asarray(v), s) for v, s in zip(values, shapes, strict=True)]


def optimizer_shapes(network: keras.Model, config: FitConfig) -> list[tuple]:
    """Shapes of the variables that the configured optimizer keeps for a network."""
    params, kind = network.trainable_variables, config.optimizer
    if not isinstance(kind, str):
        kind = (type(kind), str(kind.get_config() | {"name": None}))
    rate = isinstance(config.learning_rate, keras.optimizers.schedules.LearningRateSchedule)
    key = (kind, rate, *((tuple(p.shape), str(p.dtype)) for p in params))
    if key not in _shapes:  # making variables takes longer than an epoch of a small network
        optimizer = make_optimizer(config)
        optimizer.build(params)
        if len(_shapes) >= KEPT_SHAPES:
            _shapes.clear()
        _shapes[key] = shapes_of(optimizer.variables)
    return _shapes[key]


def _each(state, change):
    if isinstance(state, dict):
        return {name: _each(value, change) for name, value in state.items()}
    return change(state) if isinstance(state, list | PerUnit) else state
