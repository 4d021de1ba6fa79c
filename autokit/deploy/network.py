"""A model's network made ready for the converter, the model itself left as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autokit._backend import keras, tf
from autokit.deploy.proof import ExportError
from autokit.layers import copied
from autokit.layers.integer import NORMALIZING, has_fake_quant, without_fake_quant

# The first two of these compare values, which rounding to 256 steps would change.
_FLOAT = (keras.layers.Masking, keras.layers.StringLookup, *NORMALIZING)
# Klambauer et al. (2017), Self-Normalizing Neural Networks, eq. 14.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def prepared(model: keras.Model, *, unroll: bool = False) -> keras.Model:
    """Copy a model for conversion.

    The copy computes in float32, writes SELU in operations that keep their precision in int8,
    and has recurrent layers unrolled if asked for. Of a model trained for integers it has the
    ranges of activations, and weights that need no more rounding.

    Parameters
    ----------
    model : keras.Model
        Left as it is.
    unroll : bool, default=False
        Whether loops over time become straight graphs.

    Returns
    -------
    keras.Model
        `model` itself if there is nothing to change.

    Raises
    ------
    ExportError
        If the model cannot be rebuilt from its configuration.
    """
    if has_fake_quant(model):
        model = without_fake_quant(model, keep_ranges=True)
    if unroll:
        _check_steps(model)
    config = _config(model)
    changed = _changed(config, unroll)
    if changed == config:
        return model
    try:
        return copied(model, changed)
    except Exception as error:
        raise ExportError(
            "estimator_or_model: its model cannot be rebuilt for conversion from its "
            f"configuration: {one_line(error)}; register its own layers with "
            "keras.saving.register_keras_serializable."
        ) from error


def is_half_precision(model: keras.Model) -> bool:
    """Whether the model was trained, and answers, in a 16-bit float."""
    return "mixed_" in str(_config(model))


@dataclass(frozen=True)
class Split:
    """A network cut in two.

    Attributes
    ----------
    front : keras.Model
        From the input to a tensor, and to its masks if it has any.
    rest : keras.Model
        From these to the outputs.
    """

    front: keras.Model
    rest: keras.Model


def split(model: keras.Model, *, keeps_lookups: bool = False) -> Split | None:
    """Cut a network behind the layers that it starts with and that must stay in float.

    Parameters
    ----------
    model : keras.Model
        A network of one input.
    keeps_lookups : bool, default=False
        Whether an Embedding is such a layer; Normalization, BatchNormalization, Rescaling,
        Masking and StringLookup are in any case.

    Returns
    -------
    Split or None
        None if it starts with none of them.
    """
    first = _FLOAT + ((keras.layers.Embedding,) if keeps_lookups else ())
    layers = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    if len(getattr(model, "inputs", None) or ()) != 1 or not isinstance(layers[0], first):
        return None
    try:
        copy = copied(model)
        tensor = copy.inputs[0]
        # A Sequential model has called its layers more than once.
        levels = getattr(copy, "_functional", copy)._nodes_by_depth
        calls = [call for depth in sorted(levels, reverse=True) for call in levels[depth]]
        while isinstance(layer := _only_layer(calls, tensor), first):
            tensor = next(call.outputs[0] for call in calls if call.operation is layer)
        if tensor is copy.inputs[0]:
            return None
        between = [tensor, *_beside(calls, tensor)]
        outputs = copy.outputs if len(copy.outputs) > 1 else copy.outputs[0]
        return Split(keras.Model(copy.inputs[0], between), keras.Model(between, outputs))
    except Exception:
        # Not a plain chain: then it is quantised in one piece, and the proof decides.
        return None


def one_line(error: Exception) -> str:
    """Return an error's message without line breaks, cut to a readable length."""
    return " ".join(str(error).replace("\033[1m", "").replace("\033[0m", "").split())[:300]


def _check_steps(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        tensors = keras.tree.flatten(getattr(layer, "input", ()))
        if isinstance(layer, keras.layers.RNN) and tensors and tensors[0].shape[1] is None:
            raise ExportError(
                f"estimator_or_model: the layer {layer.name!r} ({type(layer).__name__}) runs over "
                "any number of steps: such a loop cannot be quantised with its activations; give "
                "its Input a fixed number of steps, such as keras.Input((20, 3)), or use "
                "quantization='dynamic' or 'float16'."
            )


def _config(model: keras.Model) -> dict:
    try:
        return model.get_config()
    except NotImplementedError:  # a subclass of Model that does not describe itself
        return {}


def _changed(config: Any, unroll: bool, key: str | None = None) -> Any:
    if key == "unroll":
        return config or unroll
    if key == "activation" and _is_selu(config):
        return _selu
    if isinstance(config, dict):
        return {k: _changed(value, unroll, k) for k, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_changed(value, unroll) for value in config)
    # A file in half precision is made by the converter, not by the casts of mixed training.
    return "float32" if isinstance(config, str) and config.startswith("mixed_") else config


def _is_selu(activation: Any) -> bool:
    if isinstance(activation, dict):
        activation = activation.get("config")
    return activation == "selu"


def _selu(x: tf.Tensor) -> tf.Tensor:
    # TensorFlow's is converted to a choice between x and exp(x): in int8 the exponentials of
    # large positive x, which nobody chooses, set the scale. ELU has an operator of its own.
    # For x > 0: alpha x + (1 - alpha) x = x.
    elu, relu = tf.nn.elu(x), tf.nn.relu(x)
    return _SELU_SCALE * _SELU_ALPHA * elu + _SELU_SCALE * (1.0 - _SELU_ALPHA) * relu


def _only_layer(calls: list, tensor: Any) -> keras.Layer | None:
    """Return the layer that takes a tensor, if there is just one; masks come from operations."""
    takers = [call.operation for call in calls if any(t is tensor for t in call.input_tensors)]
    layers = [taker for taker in takers if isinstance(taker, keras.Layer)]
    return layers[0] if len(layers) == 1 else None


def _beside(calls: list, tensor: Any) -> list:
    """Return what else crosses the cut at a tensor: masks, computed from the input."""
    behind, crossing = {id(tensor)}, {}
    for call in calls:  # those that compute inputs of others come first
        if any(id(t) in behind for t in call.input_tensors):
            behind.update(id(t) for t in call.outputs)
            crossing.update({id(t): t for t in call.input_tensors if id(t) not in behind})
    return list(crossing.values())
