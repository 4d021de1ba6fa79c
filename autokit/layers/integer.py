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
# Values on a grid stay on it, or within half a step of it.
_SAME_SCALE = (
    _layers.InputLayer,
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
    _layers.AveragePooling1D,
    _layers.AveragePooling2D,
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


def is_integer_layer(layer: Any) -> bool:
    """Whether LiteRT computes a layer in integers, given the ranges before and behind it."""
    if type(layer) in (*PLAIN_OF, *FAKE_QUANT_OF, *COMPUTING, *_SAME_SCALE, FakeQuantRange):
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


def without_fake_quant(model: keras.Model, *, keep_ranges: bool = False) -> keras.Model:
    """Plain layers whose weights are on the trained grid.

    Parameters
    ----------
    model : keras.Model
        With layers of `autokit.layers.fake_quant`; it stays as it is.
    keep_ranges : bool, default=False
        Whether the ranges of activations stay, for a converter that reads them. They go all the
        same if a layer has none: the converter takes either all of them or none.

    Returns
    -------
    keras.Model
    """
    graph = graph_of(copied(model))
    first = leading(graph)
    keep_ranges = keep_ranges and all(
        is_integer_layer(call.layer) for call in graph.calls if call not in first
    )
    copies = Copies()

    def emit(call, *args, **kwargs):
        layer = call.layer
        if type(layer) is FakeQuantRange and not keep_ranges:
            return args[0]
        if type(layer) not in PLAIN_OF:
            return copies.emit(call, *args, **kwargs)
        return copies.called(layer, lambda: _plain(layer, copies), args, kwargs, _weights_of(layer))

    return rebuilt(graph, emit, model.name)


def _plain(layer: Any, copies: Copies) -> Any:
    config = copies.config_of(layer)
    config.pop("bits")
    return PLAIN_OF[type(layer)].from_config(config)


def _weights_of(layer: Any) -> list:
    return [layer.rounded_kernel(), *layer.variables[1:]]
