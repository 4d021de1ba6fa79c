"""Snapshots of a model's variables."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autokit._backend import keras


class ModelState(NamedTuple):
    """Values of a model's variables, detached from it.

    Attributes
    ----------
    params : list of np.ndarray
        In the order of ``model.trainable_variables``.
    buffers : list of np.ndarray
        In the order of ``model.non_trainable_variables``: statistics and seed states.
    """

    params: list[np.ndarray]
    buffers: list[np.ndarray]


def values_of(variables) -> list[np.ndarray]:
    """Copies of the values of Keras variables."""
    return [v.value.numpy() for v in variables]


def assign(variables, values) -> None:
    """Write values, one per variable, in order."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def snapshot(model: keras.Model) -> ModelState:
    """Copy the values of all variables, seed generators included."""
    return ModelState(
        values_of(model.trainable_variables),
        values_of(model.non_trainable_variables),
    )


def restore(model: keras.Model, state: ModelState) -> None:
    """Write a snapshot back.

    Raises
    ------
    ValueError
        The snapshot belongs to a model with other variables.
    """
    pairs = (
        (model.trainable_variables, state.params),
        (model.non_trainable_variables, state.buffers),
    )
    for variables, values in pairs:
        have, got = [tuple(v.shape) for v in variables], [np.shape(v) for v in values]
        if have != got:
            raise ValueError(
                f"The 'state' belongs to another model: its variables have shapes {got}, "
                f"the model's have {have}; restore it into the model it was taken from."
            )
    for variables, values in pairs:
        assign(variables, values)


def is_statistic(variable) -> bool:
    """Whether a non-trainable variable may be averaged: seed states are integers and may not."""
    return "float" in str(variable.dtype)


def generators(model: keras.Model) -> list:
    """The variables with states of random generators, which Keras leaves out of its files."""
    return [v for v in model.non_trainable_variables if not is_statistic(v)]
