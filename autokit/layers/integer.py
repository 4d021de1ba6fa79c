"""Which layers an integer network can hold, and plain networks out of fake-quantised ones."""

from __future__ import annotations

from typing import Any

from autokit._backend import keras
from autokit.layers.copies import copied
from autokit.layers.fake_quant import FAKE_QUANT_OF, PLAIN_OF, FakeQuantRange
from autokit.layers.graphs import Call, Copies, Graph, graph_of, rebuilt

_layers = keras.layers

# LiteRT computes them within the kernel of the layer before.
FUSED = ("relu", "relu6")
# LiteRT fixes the scale of their results.
FIXED_RANGES = {
    "sigmoid": (0.0, 255 / 256),
    "softmax": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
}
# Their results have a range to be learned.
_NONLINEAR = ("gelu", "silu", "elu", "leaky_relu", "hard_sigmoid", "hard_silu")
COMPUTING = (
    _layers.Add,
    _layers.Subtract,
    _layers.Multiply,
    _layers.Concatenate,
    _layers.GlobalAveragePooling1D,
    _layers.GlobalAveragePooling2D,
)
# Their results are rounded to the grid of what goes in.
AVERAGING = (_layers.AveragePooling1D, _layers.AveragePooling2D)
# Values on a grid stay on it.
SAME_SCALE = (
    _layers.Flatten,
    _layers.Reshape,
    _layers.Permute,
    _layers.Dropout,
    _layers.SpatialDropout1D,
    _layers.SpatialDropout2D,
    _layers.AlphaDropout,
    _layers.GaussianDropout,
    _layers.GaussianNoise,
    _layers.MaxPooling1D,
    _layers.MaxPooling2D,
    *AVERAGING,
    _layers.GlobalMaxPooling1D,
    _layers.GlobalMaxPooling2D,
    _layers.ZeroPadding1D,
    _layers.ZeroPadding2D,
    _layers.Cropping1D,
    _layers.Cropping2D,
)
# Layers that bring inputs of any range to a common one; as the first ones they stay float.
NORMALIZING = (_layers.Normalization, _layers.BatchNormalization, _layers.Rescaling)


def activation_of(layer: Any) -> str | None:
    """The name of the function that an activation layer computes; None of any other layer."""
    if type(layer) is _layers.Activation:
        return getattr(layer.activation, "__name__", None)
    if type(layer) is _layers.ReLU and not layer.negative_slope and not layer.threshold:
        return {None: "relu", 6.0: "relu6"}.get(layer.max_value)
    if type(layer) is _layers.LeakyReLU:
        return "leaky_relu"
    if type(layer) is _layers.ELU:
        return "elu"
    if type(layer) is _layers.Softmax and layer.axis == -1:
        return "softmax"
    return None


def is_nonlinear(layer: Any) -> bool:
    """Whether it is an activation whose results have a range to be learned."""
    return activation_of(layer) in _NONLINEAR


def _is_integer(call: Call) -> bool:
    layer = call.layer
    if getattr(call.inputs[0], "_keras_mask", None) is not None:
        return False  # it may compute with the mask, in operations of its own
    if type(layer) in (*PLAIN_OF, *FAKE_QUANT_OF, *COMPUTING, *SAME_SCALE, FakeQuantRange):
        return True
    return activation_of(layer) in ("linear", *FUSED, *FIXED_RANGES, *_NONLINEAR)


def leading(graph: Graph) -> list[Call]:
    """The normalising layers that a network of one input starts with."""
    found: list[Call] = []
    tensor = graph.inputs[0]
    for call in graph.calls if len(graph.inputs) == 1 else ():
        if not isinstance(call.layer, NORMALIZING) or graph.consumers(tensor) != [call]:
            break
        found.append(call)
        tensor = call.outputs
    return found


def has_fake_quant(model: keras.Model) -> bool:
    """Whether a model was trained to be quantised."""
    return any(type(layer) in (*PLAIN_OF, FakeQuantRange) for layer in model.layers)


def has_all_ranges(model: keras.Model) -> bool:
    """Whether a model was trained to be quantised, and no layer of it was left in floats.

    A converter takes the ranges of all activations from the model, or of none.
    """
    return has_fake_quant(model) and not float_layers(graph_of(copied(model)))


def float_layers(graph: Graph) -> list[str]:
    """Names of the layers that LiteRT does not compute in integers with trained ranges."""
    first = leading(graph)
    names = [c.layer.name for c in graph.calls if c not in first and not _is_integer(c)]
    return list(dict.fromkeys(names))


def without_fake_quant(model: keras.Model, *, keep_ranges: bool = False) -> keras.Model:
    """Plain layers whose weights are on the trained grid.

    Parameters
    ----------
    model : keras.Model
        With layers of `autokit.layers.fake_quant`; it stays as it is.
    keep_ranges : bool, default=False
        Whether the ranges of activations stay, for a converter that reads them.

    Returns
    -------
    keras.Model
    """
    copies = Copies()

    def emit(call, *args, **kwargs):
        layer = call.layer
        if type(layer) is FakeQuantRange and not keep_ranges:
            return args[0]
        if type(layer) not in PLAIN_OF:
            return copies.emit(call, *args, **kwargs)
        return copies.called(layer, lambda: _plain(layer, copies), args, kwargs, _weights_of(layer))

    return rebuilt(graph_of(copied(model)), emit, model.name)


def _plain(layer: Any, copies: Copies) -> Any:
    config = copies.config_of(layer)
    config.pop("bits")
    return PLAIN_OF[type(layer)].from_config(config)


def _weights_of(layer: Any) -> list:
    return [layer.rounded_kernel(), *layer.variables[1:]]
