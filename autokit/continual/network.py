"""A network's output layer, widened when classes or tasks come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autokit._backend import keras
from autokit.layers.copies import copied, settle
from autokit.training import seeded
from autokit.training.state import assign, values_of

LEAST_UNITS = 16  # output units of a network in training, then doubled: few traces


def head_of(model: keras.Model) -> keras.layers.Dense | None:
    """The dense layer that gives a model's outputs; None if there is none."""
    layer = _last(model)
    if isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.linear:
        layer = _before(model, layer)
    return layer if isinstance(layer, keras.layers.Dense) else None


def features_of(model: keras.Model) -> keras.Model:
    """The part before the output layer, sharing its layers; the whole model if it has none."""
    head = head_of(model)
    return model if head is None else keras.Model(model.inputs[0], head.input)


def with_linear_head(model: keras.Model) -> keras.Model:
    """The model without the softmax or sigmoid at its end.

    Raises
    ------
    ValueError
        It does not end in a dense layer, with an activation or without.
    """
    last = _last(model)
    dense = last
    if isinstance(last, keras.layers.Activation | keras.layers.Softmax):
        dense = _before(model, last)
    if not isinstance(dense, keras.layers.Dense):
        found = "no layer" if dense is None else f"a {type(dense).__name__}"
        raise ValueError(
            "The 'model' parameter must be a Sequential or functional model that ends in a Dense "
            f"layer, one unit a class, so that classes can be added; it ends in {found}. Add a "
            "Dense layer."
        )
    if last is dense and dense.activation is keras.activations.linear:
        return model

    def linear(config):
        if config["config"]["name"] == dense.name:
            config["config"]["activation"] = "linear"
        elif last is not dense and config["config"]["name"] == last.name:
            config["class_name"], config["module"] = "Activation", "keras.layers"
            kept = {k: config["config"][k] for k in ("name", "dtype") if k in config["config"]}
            config["config"] = {**kept, "activation": "linear"}

    changed = _rebuilt(model, linear)
    assign(changed.variables, values_of(model.variables))
    settle(changed)
    return changed


def resized(model: keras.Model, n_units: int, places: np.ndarray, seed: int) -> keras.Model:
    """A copy of the model with more output units.

    Parameters
    ----------
    model : keras.Model
        Ends in a dense layer.
    n_units : int
        Of the copy.
    places : np.ndarray of int
        The unit of the copy that each of the model's own becomes, weights and all; the others
        are drawn by the layer's initialisers.
    seed : int

    Returns
    -------
    keras.Model
    """
    head = head_of(model)

    def widen(config):
        if config["config"]["name"] == head.name:
            config["config"]["units"] = int(n_units)
            config.pop("build_config", None)

    with seeded(seed):
        wide = _rebuilt(model, widen)
    for new, old in zip(wide.variables, model.variables, strict=True):
        new.assign(placed(old.value.numpy(), tuple(new.shape), places, new.value.numpy()))
    settle(wide)
    return wide


def with_units(model: keras.Model, units: np.ndarray) -> keras.Model:
    """A copy of the model with only some of its output units.

    Parameters
    ----------
    model : keras.Model
    units : np.ndarray of int

    Returns
    -------
    keras.Model
    """
    head = head_of(model)
    if head is None:
        whole = copied(model)
        return keras.Model(whole.inputs[0], _of_units(whole, units))

    def narrow(config):
        if config["config"]["name"] == head.name:
            config["config"]["units"] = len(units)
            config.pop("build_config", None)

    small = _rebuilt(model, narrow)
    for new, old in zip(small.variables, model.variables, strict=True):
        value = old.value.numpy()
        new.assign(value if value.shape == tuple(new.shape) else value[..., units])
    settle(small)
    return small


def untrained(model: keras.Model, seed: int) -> keras.Model:
    """The model as it would be initialised."""
    with seeded(seed):
        return _rebuilt(model, lambda config: None)


def placed(
    value: np.ndarray, shape: tuple, places: np.ndarray, fill: float | np.ndarray = 0.0
) -> np.ndarray:
    """An array whose last axis has an entry per unit, for more units.

    Parameters
    ----------
    value : np.ndarray
    shape : tuple of int
        Wanted. An array that has it already belongs to no head and is left alone.
    places : np.ndarray of int
        The new place of each old unit.
    fill : float or np.ndarray of `shape`, default=0.0
        For the new units.
    """
    if value.shape == tuple(shape):
        return value
    wide = np.full(shape, fill, value.dtype) if np.isscalar(fill) else np.array(fill, value.dtype)
    wide[..., places] = value
    return wide


def cut(value: np.ndarray, shape: tuple) -> np.ndarray:
    """The first units of an array whose last axis has an entry per unit."""
    return value if value.shape == tuple(shape) else value[..., : shape[-1]]


def capacity(n_units: int) -> int:
    """Output units of the network in training: the next power of two, at least 16."""
    return max(LEAST_UNITS, 1 << (int(n_units) - 1).bit_length())


def shapes_of(variables: Sequence) -> list[tuple]:
    """Shapes of variables or arrays."""
    return [tuple(v.shape) for v in variables]


def _rebuilt(model, change) -> keras.Model:
    config = model.get_config()
    for layer in config["layers"]:
        change(layer)
    config.pop("build_input_shape", None)
    copy = type(model).from_config(config)
    if not copy.built:
        copy.build(model.input_shape)
    return copy


def _last(model):
    if isinstance(model, keras.Sequential):
        return model.layers[-1] if model.layers else None
    outputs = getattr(model, "outputs", None) if type(model).__name__ == "Functional" else None
    if not outputs or len(outputs) > 1:
        return None
    return outputs[0]._keras_history.operation


def _of_units(model, units):
    """The outputs of some units: one part of concatenated outputs where they are just that."""
    last, first = _last(model), 0
    if isinstance(last, keras.layers.Concatenate):
        for part in last.input:
            if np.array_equal(units, np.arange(first, first + part.shape[-1])):
                return part
            first += part.shape[-1]
    return keras.ops.take(model.outputs[0], units, axis=-1)


def _before(model, layer):
    if isinstance(model, keras.Sequential):
        place = model.layers.index(layer)
        return model.layers[place - 1] if place else None
    return layer.input._keras_history.operation
