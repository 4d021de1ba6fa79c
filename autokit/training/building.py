"""The network that an estimator's parameter `model` stands for."""

from __future__ import annotations

import operator

from autokit._backend import keras
from autokit.layers import copied, default_model
from autokit.training.hyperbuild import HyperBuild
from autokit.training.seeding import seeded


def build_model(
    model,
    kind: str,
    shape: tuple,
    n_outputs: int,
    activation: str,
    seed: int,
    *,
    accepts=operator.eq,
) -> keras.Model:
    """The network that the parameter `model` stands for, ready to train.

    Parameters
    ----------
    model : keras.Model, callable or None
        See `autokit.KerasClassifier`.
    kind, shape : str, tuple of int
        Of encoded rows, as their encoder says.
    n_outputs : int
    activation : str
        At the end of the network if `model` is None.
    seed : int
        Of the weights.
    accepts : callable, default=operator.eq
        ``(width, n_outputs) -> bool``: whether a network of so many outputs will do.

    Returns
    -------
    keras.Model
        Built; a copy if a model was given.

    Raises
    ------
    ValueError
        The model takes other rows or gives other outputs.
    """
    with seeded(seed):
        if model is None:
            network = default_model(kind, shape, n_outputs, activation)
        elif isinstance(model, keras.Model):
            if not model.built:
                model.build((None, *shape))
            network = copied(model)
        elif (hyperbuild := HyperBuild.of(model)) is not None:
            network = hyperbuild()
        else:
            network = model(shape, n_outputs)
            if not isinstance(network, keras.Model):
                raise ValueError(
                    f"The 'model' parameter must build a keras.Model from (input_shape, "
                    f"n_outputs); it returned a {type(network).__name__}."
                )
        if not isinstance(network, keras.Sequential) and not getattr(network, "inputs", None):
            raise ValueError(
                f"The 'model' parameter is a {type(network).__name__}, a subclass of keras.Model "
                "that does not tell what it is made of; build a keras.Sequential, or a "
                "keras.Model(inputs, outputs)."
            )
        if not network.built:
            network.build((None, *shape))
    for what, thing in (("inputs", "X"), ("outputs", "y")):
        number = len(getattr(network, what))
        if number > 1:
            raise ValueError(
                f"The 'model' parameter has {number} {what}, and {thing} is one array; build a "
                "model of one (keras.layers.Concatenate joins several)."
            )
    wanted = tuple(getattr(network, "input_shape", None) or (None, *shape))[1:]
    if len(wanted) != len(shape) or any(
        w not in (None, s) for w, s in zip(wanted, shape, strict=True)
    ):
        raise ValueError(
            f"The 'model' parameter takes rows of shape {wanted}, but X has rows of shape "
            f"{tuple(shape)}; reshape X or change the model's Input."
        )
    width = network.output_shape[-1]
    if not accepts(width, n_outputs):
        raise ValueError(
            f"The 'model' parameter ends in {width} outputs, but y needs {n_outputs}; change "
            "its last layer, or pass a function of (input_shape, n_outputs)."
        )
    return network
