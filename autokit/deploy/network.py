"""A model's network made ready for the converter, the model itself left as it is."""

from __future__ import annotations

from typing import Any

from autokit._backend import keras, tf
from autokit.deploy.proof import ExportError

# Layers that bring inputs of any range to a common one: nothing before them can be int8.
_NORMALIZING = (
    keras.layers.Normalization,
    keras.layers.BatchNormalization,
    keras.layers.Rescaling,
)
# Klambauer et al. (2017), Self-Normalizing Neural Networks, eq. 14.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def prepared(model: keras.Model, *, unroll: bool = False) -> keras.Model:
    """Copy a model for conversion.

    The copy computes in float32, writes SELU in operations that keep their precision in int8,
    and has recurrent layers unrolled if asked for.

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
    config = _config(model)
    changed = _changed(config, unroll)
    if changed == config:
        return model
    try:
        return _copy(model, changed)
    except Exception as error:
        raise ExportError(
            "estimator_or_model: its model cannot be rebuilt for conversion from its "
            f"configuration: {one_line(error)}; register its own layers with "
            "keras.saving.register_keras_serializable."
        ) from error


def is_half_precision(model: keras.Model) -> bool:
    """Whether the model was trained, and answers, in a 16-bit float."""
    return "mixed_" in str(_config(model))


def split(model: keras.Model) -> tuple[keras.Model | None, keras.Model]:
    """Cut a network behind the normalising layers that it starts with.

    Parameters
    ----------
    model : keras.Model
        A network of one input.

    Returns
    -------
    front : keras.Model or None
        The leading Normalization, BatchNormalization and Rescaling layers.
    rest : keras.Model
        Everything else; `model` itself if there is no front.
    """
    layers = [x for x in model.layers if not isinstance(x, keras.layers.InputLayer)]
    if len(getattr(model, "inputs", None) or ()) != 1 or not isinstance(layers[0], _NORMALIZING):
        return None, model
    try:
        # In a copy no layer has been called twice.
        copy = _copy(model, model.get_config())
        tensor = copy.inputs[0]
        layers = [x for x in copy.layers if not isinstance(x, keras.layers.InputLayer)]
        while isinstance(layers[0], _NORMALIZING) and _consumers(layers, tensor) == layers[:1]:
            tensor = layers.pop(0).output
        if tensor is copy.inputs[0]:
            return None, model
        outputs = copy.outputs if len(copy.outputs) > 1 else copy.outputs[0]
        return keras.Model(copy.inputs[0], tensor), keras.Model(tensor, outputs)
    except Exception:
        # Not a plain chain: then it is quantised in one piece, and the proof decides.
        return None, model


def one_line(error: Exception) -> str:
    """Return an error's message without line breaks, cut to a readable length."""
    return " ".join(str(error).replace("\033[1m", "").replace("\033[0m", "").split())[:300]


def _copy(model: keras.Model, config: dict) -> keras.Model:
    copy = type(model).from_config(config)
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with constants that it derives from its weights
    return copy


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


def _consumers(layers: list, tensor: Any) -> list:
    return [x for x in layers if any(t is tensor for t in keras.tree.flatten(x.input))]
