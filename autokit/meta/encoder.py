"""The encoder that an estimator's parameter `encoder` stands for."""

from __future__ import annotations

from typing import Any

from autokit._backend import keras
from autokit.layers import copied, default_encoder
from autokit.layers.task_norm import ROWS, TaskNormalization, with_statistics
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
        It is no model, takes other rows, has several outputs, nothing to train, computes in
        float16, cannot be copied, or hides batch normalisation in a layer of its own.
    """
    with seeded(seed):
        if isinstance(encoder, str):
            return _flat(default_encoder(kind, shape, strided))
        network = encoder if isinstance(encoder, keras.Model) else encoder(shape)
        if not isinstance(network, keras.Model):
            raise ValueError(
                "The 'encoder' parameter must build a keras.Model from input_shape; it returned "
                f"a {type(network).__name__}."
            )
        if isinstance(network, keras.Sequential) and not network.built:
            if network is encoder:  # which stays as it is
                network = keras.Sequential.from_config(network.get_config())
            network.build((None, *shape))
        if not getattr(network, "inputs", None):  # a subclass: it is called whole
            inputs = keras.Input(shape)
            network = keras.Model(inputs, network(inputs))
    _check(network, shape)
    network = _flat(network)
    copy = _copy_of(network)
    return copy if isinstance(encoder, keras.Model) else network


def _flat(network: keras.Model) -> keras.Model:
    """The network with features of one axis."""
    features = network.outputs[0]
    if len(features.shape) != 2:
        features = keras.layers.Flatten(name="few_shot_flatten")(features)
    return keras.Model(network.inputs[0], features)


def _copy_of(network: keras.Model) -> keras.Model:
    """A copy as training makes them, or an error that says what it lacks."""
    try:
        copy = copied(network)
        by_rows = with_statistics(network, ROWS)
    except (AttributeError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            "The 'encoder' parameter cannot be copied, as each new task needs: "
            f"{str(error).strip().splitlines()[0].split('. ')[0]}. Give its own classes "
            "get_config() and @keras.saving.register_keras_serializable(), or build it of Keras' "
            "layers."
        ) from error
    norms = (keras.layers.BatchNormalization, TaskNormalization)
    kinds = {type(layer) for layer in by_rows._flatten_layers()}
    if any(issubclass(kind, norms[0]) and not issubclass(kind, norms[1]) for kind in kinds):
        raise ValueError(
            "The 'encoder' parameter has batch normalisation inside a layer or model of your own, "
            "where it cannot be told whose statistics to use; build it with keras.Sequential or "
            "keras.Model(inputs, outputs), or normalise otherwise."
        )
    return copy


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
