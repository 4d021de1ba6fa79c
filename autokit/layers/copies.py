"""Copies of Keras models, made from their configuration."""

from __future__ import annotations

from typing import Any

from autokit._backend import keras


def copied(model: keras.Model, config: dict[str, Any] | None = None) -> keras.Model:
    """Copy a built model with its weights; the copy shares nothing with the original.

    Parameters
    ----------
    model : keras.Model
        Describes itself by ``get_config``.
    config : dict, default=None
        Instead of the model's own; it must give the same variables in the same order.

    Returns
    -------
    keras.Model
        Of the same class, built.
    """
    copy = type(model).from_config(model.get_config() if config is None else config)
    if not copy.built:
        copy.build(model.input_shape)
    copy.set_weights(model.get_weights())
    settle(copy)
    return copy


def settle(model: keras.Model) -> None:
    """Make layers that compute with constants derive them anew from their weights."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
