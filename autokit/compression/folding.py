"""Networks in the form in which they are quantised: the same function, in fewer operations.

Batch normalisation moves into the weights before it, separable convolutions become two layers,
and activations that LiteRT computes by themselves become layers of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from autokit._backend import keras
from autokit.layers.graphs import Call, Copies, Graph, graph_of, rebuilt
from autokit.layers.integer import FUSED

_layers = keras.layers
DEPTHWISE = (_layers.DepthwiseConv1D, _layers.DepthwiseConv2D)
SEPARABLE = {
    _layers.SeparableConv1D: (_layers.DepthwiseConv1D, _layers.Conv1D),
    _layers.SeparableConv2D: (_layers.DepthwiseConv2D, _layers.Conv2D),
}
_WITH_KERNEL = (_layers.Dense, _layers.Conv1D, _layers.Conv2D, *DEPTHWISE, *SEPARABLE)
_SPATIAL = ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "depth_multiplier")
_POINTWISE = ("filters", "data_format")


def folded(model: keras.Model) -> keras.Model:
    """Return the same function without foldable batch normalisations.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential. Its layers are called once more: pass a copy.

    Returns
    -------
    keras.Model
        Equal in inference. A BatchNormalization stays where no single Dense or convolution of
        linear activation is before it.

    Raises
    ------
    ValueError
        If the model has no graph of layers, or a layer cannot be rebuilt.
    """
    graph = graph_of(model)
    normalizers = _foldable(graph)
    copies = Copies()
    absorbed = {id(call.layer) for call in normalizers.values()}

    def emit(call, *args, **kwargs):
        layer = call.layer
        if id(layer) in absorbed:
            return args[0]
        if type(layer) not in _WITH_KERNEL:
            return copies.emit(call, *args, **kwargs)
        normalizer = normalizers.get(call)
        return _emit_kernel(copies, layer, None if normalizer is None else normalizer.layer, *args)

    return rebuilt(graph, emit, model.name)


def _foldable(graph: Graph) -> dict[Call, Call]:
    """The normalisation behind each layer that can take it up."""
    found = {}
    for call in graph.calls:
        layer = call.layer
        if type(layer) not in _WITH_KERNEL or layer.activation is not keras.activations.linear:
            continue
        follower = graph.sole_consumer(call)
        if follower is None or type(follower.layer) is not _layers.BatchNormalization:
            continue
        n_axes = len(call.outputs.shape)
        last = follower.layer.axis in (-1, n_axes - 1)
        channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
        alone = graph.is_called_once(layer) and graph.is_called_once(follower.layer)
        if last and channels_last and alone:
            found[call] = follower
    return found


def _emit_kernel(copies: Copies, layer: Any, normalizer: Any, x: Any) -> Any:
    """Call layers that compute `layer` and the normalisation behind it."""
    factor, shift = _affine(normalizer)
    bias = None if layer.bias is None else _value(layer.bias)
    if normalizer is not None:
        bias = shift if bias is None else shift + factor * bias
    fused = getattr(layer.activation, "__name__", None) in ("linear", *FUSED)
    changes = {"use_bias": bias is not None}
    if not fused:
        changes["activation"] = "linear"
    if type(layer) in SEPARABLE:
        y = _emit_separable(copies, layer, changes, factor, bias, x)
    else:
        kernel = _value(layer.kernel)  # of LoRA, with its product in it
        if type(layer) in DEPTHWISE and normalizer is not None:
            factor = factor.reshape(kernel.shape[-2:])
        config = {**copies.config_of(layer), **changes}
        config = {k: v for k, v in config.items() if k not in ("lora_rank", "lora_alpha")}
        values = [kernel * factor, *([] if bias is None else [bias])]
        y = copies.called(layer, lambda: type(layer).from_config(config), (x,), {}, values)
    if fused:
        return y
    name = copies.distinct(f"{layer.name}_activation")
    return _layers.Activation(layer.activation, name=name, dtype=layer.dtype_policy)(y)


def _emit_separable(copies: Copies, layer: Any, changes: dict, factor: Any, bias: Any, x: Any):
    first, second = SEPARABLE[type(layer)]
    config = layer.get_config()
    spatial = {name: config[name] for name in _SPATIAL}

    def depthwise():
        return first(
            name=copies.distinct(depthwise_name(layer)),
            use_bias=False,
            dtype=layer.dtype_policy,
            **spatial,
        )

    def pointwise():
        return second(
            kernel_size=1,
            dtype=layer.dtype_policy,
            name=copies.distinct(pointwise_name(layer)),
            **{name: config[name] for name in _POINTWISE},
            **{"activation": layer.activation, **changes},
        )

    x = copies.called((layer, 1), depthwise, (x,), {}, [_value(layer.depthwise_kernel)])
    values = [_value(layer.pointwise_kernel) * factor, *([] if bias is None else [bias])]
    return copies.called((layer, 2), pointwise, (x,), {}, values)


def depthwise_name(layer: Any) -> str:
    """Of the first layer that a separable convolution becomes."""
    return f"{layer.name}_depthwise"


def pointwise_name(layer: Any) -> str:
    """Of the second layer that a separable convolution becomes."""
    return f"{layer.name}_pointwise"


def _affine(normalizer: Any) -> tuple[Any, Any]:
    """What a normalisation multiplies by in inference, and then adds."""
    if normalizer is None:
        return np.float32(1.0), np.float32(0.0)
    mean, variance = _value(normalizer.moving_mean), _value(normalizer.moving_variance)
    factor = 1.0 / np.sqrt(variance + normalizer.epsilon)
    if normalizer.scale:
        factor = factor * _value(normalizer.gamma)
    shift = -mean * factor
    return factor, shift + _value(normalizer.beta) if normalizer.center else shift


def _value(variable: Any) -> np.ndarray:
    # Products of float32 round a channel's weights each by itself: the fold stays exact.
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
