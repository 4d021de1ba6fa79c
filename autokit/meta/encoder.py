"""The encoder that an estimator's parameter `encoder` stands for."""

from __future__ import annotations

from typing import Any

from autokit._backend import keras
from autokit.layers import copied, default_encoder
from autokit.training import seeded

AUTO = "auto"


def build_encoder(encoder: Any, kind: str, shape: tuple, strided: bool, seed: int) -> keras.Model:
    """A network of its own from an encoded row to features, of shape (batch, n_features).

    Parameters
    ----------
    encoder : "auto", keras.Model or callable
        A callable is given the shape of a row. Features of more than one axis are flattened.
    kind, shape : str, tuple of int
        Of encoded rows, as their encoder says.
    strided : bool
        Of the default for images, see `autokit.layers.conv4`.
    seed : int
        Of the weights.

    Raises
    ------
    ValueError
        It is no model, takes other rows, has several outputs, nothing to train, or computes in
        float16.
    """
    with seeded(seed):
        if isinstance(encoder, str):
            network = default_encoder(kind, shape, strided)
        elif isinstance(encoder, keras.Model):
            if not encoder.built:
                encoder.build((None, *shape))
            network = copied(encoder)
        else:
            network = encoder(shape)
            if not isinstance(network, keras.Model):
                raise ValueError(
                    "The 'encoder' parameter must build a keras.Model from input_shape; it "
                    f"returned a {type(network).__name__}."
                )
            if not network.built:
                network.build((None, *shape))
    _check(network, shape)
    if not hasattr(network, "inputs") or not network.inputs:  # a subclass: it is called whole
        inputs = keras.Input(shape)
        network = keras.Model(inputs, network(inputs))
    features = network.outputs[0]
    if len(features.shape) == 2:
        return keras.Model(network.inputs, features)
    return keras.Model(network.inputs, keras.layers.Flatten()(features))


def _check(network: keras.Model, shape: tuple) -> None:
    wanted = tuple(getattr(network, "input_shape", None) or (None, *shape))[1:]
    if len(wanted) != len(shape) or any(
        w not in (None, s) for w, s in zip(wanted, shape, strict=True)
    ):
        raise ValueError(
            f"The 'encoder' parameter takes rows of shape {wanted}, but X has rows of shape "
            f"{tuple(shape)}; reshape X or change the encoder's Input."
        )
    outputs = getattr(network, "outputs", None)
    if outputs is not None and len(outputs) != 1:
        raise ValueError(
            f"The 'encoder' parameter has {len(outputs)} outputs; give a model whose one output "
            "is the features."
        )
    if not network.trainable_variables:
        raise ValueError(
            "The 'encoder' parameter has no trainable weights, so there is nothing to meta-learn; "
            "set trainable=True on its layers, or take a model that has some."
        )
    if "float16" in {layer.compute_dtype for layer in network._flatten_layers()}:
        raise ValueError(
            "The 'encoder' parameter computes in float16, in which gradients through gradients "
            "vanish; build it with the dtype policy 'float32'."
        )
