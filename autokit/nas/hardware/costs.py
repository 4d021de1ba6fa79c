"""What a network costs by its graph alone: operations and activation memory of one row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from autokit._backend import keras, tf

_FLOAT_BYTES = 4


def count_flops(model: keras.Model) -> int:
    """Floating-point operations of one row at inference, as TensorFlow's profiler counts them.

    A multiplication with addition is two operations. Convolutions and dense layers count
    ``2 * multiplications + biases``, batch normalisation 2 an element and 6 a channel, layer
    normalisation 9 an element and 4 a row of them, additions, multiplications and averages over
    an axis 1 an element, pooling its whole window for each output, softmax 5 an element; ReLU,
    sigmoid, tanh, padding and copies count nothing. A layer
    that is not known here is traced and asked of the profiler, a model without a graph of layers
    as a whole; what runs in a loop (recurrent layers) is counted once. In two cases the count is
    right where the profiler is not: grouped convolutions, of which it sees nothing, and dilated
    ones of odd sides, whose padding to even sides it counts.

    Parameters
    ----------
    model : keras.Model
        Built; it is not changed.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the model is not built, or the profiler cannot fix a shape.

    Examples
    --------
    >>> from autokit.layers import mlp
    >>> from autokit.nas.hardware import count_flops
    >>> count_flops(mlp((4,), 3, widths=(8,)))
    115
    """
    if not _has_graph(model):
        return _profiled(model, _model_inputs(model))
    return sum(_flops_of(node) for node in _nodes(model))


def count_macs(model: keras.Model) -> int:
    """Multiplications with addition of convolutions and dense layers, and one for each bias.

    This is what NAS-Bench-201 and many papers print as FLOPs; everything else counts nothing.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, of layers that `count_flops` knows.

    Raises
    ------
    ValueError
        If the model has no graph of layers.
    """
    if not _has_graph(model):
        raise ValueError(
            f"model must be Functional or Sequential to count its layers; got "
            f"{type(model).__name__}. Use count_flops."
        )
    return sum(_macs(node)[0] + _macs(node)[1] for node in _nodes(model) if _macs(node))


def peak_activation_bytes(model: keras.Model) -> int:
    """Most bytes of float32 activations that one row needs at once.

    The layers run in the order of the model. While one runs, its inputs and outputs are held,
    and whatever a later layer still needs. Layers that work element by element (activations,
    normalisation, scaling), reshapes and dropout write over their input if nobody else needs
    it, and so does an addition over one of its own. Weights and scratch space are not counted.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the model has no graph of layers.

    Examples
    --------
    >>> from autokit.layers import mlp
    >>> from autokit.nas.hardware import peak_activation_bytes
    >>> peak_activation_bytes(mlp((4,), 3, widths=(8,)))
    48
    """
    if not _has_graph(model):
        raise ValueError(
            f"model must be Functional or Sequential to follow its activations; got "
            f"{type(model).__name__}."
        )
    calls = list(_calls(model, {}))
    outputs = calls.pop()
    last_use = {key: i for i, call in enumerate(calls) for key in call.inputs}
    last_use |= dict.fromkeys(outputs.inputs, len(calls))
    held = {id(t): _bytes(t.shape) for t in model.inputs}
    peak = sum(held.values())
    for i, call in enumerate(calls):
        needed = [_bytes(t.shape) for t in call.node.outputs]
        if isinstance(call.node.operation, _IN_PLACE):
            free = [key for key in call.inputs if last_use[key] == i and key in held]
            reused = max(free, key=held.get, default=None)
            if reused is not None and held[reused] >= sum(needed):
                del held[reused]
        held |= dict(zip(call.outputs, needed, strict=True))
        peak = max(peak, sum(held.values()))
        held = {key: size for key, size in held.items() if last_use.get(key, -1) > i}
    return peak


def _has_graph(model) -> bool:
    return hasattr(getattr(model, "_functional", None) or model, "_nodes_by_depth")


def _nodes(model) -> Iterator[Any]:
    return (call.node for call in _calls(model, {}) if call.node is not None)


class _Call(NamedTuple):
    """One call of a layer; tensors are named by their ids."""

    node: Any
    inputs: list[int]
    outputs: list[int]


def _calls(model, same: dict[int, int]) -> Iterator[_Call]:
    """The calls of layers in the order of computation, then one without node: the outputs.

    Nested models are resolved into their layers: `same` tells which tensor of the whole an inner
    one is.
    """

    def names(tensors):
        return [same.get(id(t), id(t)) for t in tensors]

    graph = getattr(model, "_functional", None) or model
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            inner, inputs = node.operation, names(node.input_tensors)
            if isinstance(inner, keras.Model) and _has_graph(inner):
                same.update(zip(map(id, inner.inputs), inputs, strict=True))
                *calls, outputs = _calls(inner, same)
                yield from calls
                same.update(zip(map(id, node.outputs), outputs.inputs, strict=True))
            elif not isinstance(inner, keras.layers.InputLayer):
                yield _Call(node, inputs, [id(t) for t in node.outputs])
    yield _Call(None, names(graph.outputs), [])


def _bytes(shape) -> int:
    return _FLOAT_BYTES * _size(shape)


def _size(shape) -> int:
    return math.prod(int(n) for n in shape[1:])


def _flops_of(node) -> int:
    layer = node.operation
    macs = _macs(node)
    if macs is not None:
        return 2 * macs[0] + macs[1] + _activation(layer, node)
    for kinds, rule in _RULES.items():
        if type(layer) in kinds:
            return rule(layer, node)
    return _profiled(layer, [t.shape for t in node.input_tensors], node)


def _macs(node) -> tuple[int, int] | None:
    """Multiplications with addition, and biases; None for a layer without."""
    layer = node.operation
    kind = type(layer)
    if kind not in _CONVOLUTIONS and kind is not keras.layers.Dense:
        return None
    source, target = node.input_tensors[0].shape, node.outputs[0].shape
    biases = _size(target) if layer.use_bias else 0
    if kind is keras.layers.Dense:
        return int(source[-1]) * _size(target), biases
    window = math.prod(layer.kernel_size)
    places = math.prod(int(n) for n in target[1:-1])
    if kind is keras.layers.DepthwiseConv2D:
        return window * _size(target), biases
    if kind is keras.layers.SeparableConv2D:
        deep = int(source[-1]) * layer.depth_multiplier
        return places * deep * (window + layer.filters), biases
    return window * int(source[-1]) // layer.groups * _size(target), biases


_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)


def _activation(layer, node) -> int:
    """Of the activation function that a layer ends with."""
    function = getattr(layer, "activation", None)
    name = getattr(function, "__name__", None)
    if function is None or name in _FREE_ACTIVATIONS:
        return 0
    size = _size(node.outputs[0].shape)
    if name in _COSTLY_ACTIVATIONS:
        return _COSTLY_ACTIVATIONS[name] * size
    return _profiled(function, [node.outputs[0].shape])


_FREE_ACTIVATIONS = ("linear", "relu", "relu6", "selu", "sigmoid", "tanh", "elu")
_COSTLY_ACTIVATIONS = {"softmax": 5, "gelu": 4}


def _window(layer, node) -> int:
    return math.prod(layer.pool_size) * _size(node.outputs[0].shape)


def _batch_norm(layer, node) -> int:
    # once for each channel: scale * rsqrt(variance + epsilon), then offset - mean * that
    of_channel = 6 if layer.scale else 5
    return 2 * _size(node.outputs[0].shape) + of_channel * int(node.outputs[0].shape[layer.axis])


def _layer_norm(layer, node) -> int:
    shape = node.outputs[0].shape
    if layer.axis not in (-1, [-1], [len(shape) - 1]) or not (layer.center and layer.scale):
        return _profiled(layer, [shape])
    return 9 * _size(shape) + 4 * _size(shape[:-1])


_RULES: dict[tuple[type, ...], Callable[[Any, Any], int]] = {
    (keras.layers.BatchNormalization,): _batch_norm,
    (keras.layers.LayerNormalization,): _layer_norm,
    (keras.layers.Activation,): _activation,
    (keras.layers.Softmax,): lambda layer, node: 5 * _size(node.outputs[0].shape),
    (
        keras.layers.AveragePooling1D,
        keras.layers.AveragePooling2D,
        keras.layers.MaxPooling1D,
        keras.layers.MaxPooling2D,
    ): _window,
    (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D): (
        lambda layer, node: _size(node.input_tensors[0].shape)
    ),
    (keras.layers.Add, keras.layers.Multiply): (
        lambda layer, node: (len(node.input_tensors) - 1) * _size(node.outputs[0].shape)
    ),
    (keras.layers.Rescaling,): lambda layer, node: 2 * _size(node.outputs[0].shape),
    (
        keras.layers.AlphaDropout,
        keras.layers.Concatenate,
        keras.layers.Cropping2D,
        keras.layers.Dropout,
        keras.layers.Flatten,
        keras.layers.Identity,
        keras.layers.ReLU,
        keras.layers.Reshape,
        keras.layers.SpatialDropout2D,
        keras.layers.ZeroPadding2D,
    ): lambda layer, node: 0,
}

_IN_PLACE = (
    keras.layers.Activation,
    keras.layers.Add,
    keras.layers.AlphaDropout,
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.LayerNormalization,
    keras.layers.Multiply,
    keras.layers.ReLU,
    keras.layers.Rescaling,
    keras.layers.Reshape,
    keras.layers.Softmax,
    keras.layers.SpatialDropout2D,
)


def _model_inputs(model) -> list:
    shape = getattr(model, "input_shape", None) or getattr(model, "_build_shapes_dict", None)
    if isinstance(shape, dict):
        shape = next(iter(shape.values()))
    if shape is None:
        raise ValueError(
            f"model must be built to be counted; got an unbuilt {type(model).__name__}. Call it on "
            "a row first."
        )
    return list(shape) if isinstance(shape[0], list | tuple) else [shape]


def _profiled(called, shapes, node=None) -> int:
    """What TensorFlow's profiler counts in a trace of one row."""
    specs = [tf.TensorSpec((1, *shape[1:]), tf.float32) for shape in shapes]

    @tf.function(autograph=False)
    def forward(*rows):
        if node is None:
            return called(*rows)
        args, kwargs = node.arguments.fill_in(
            {id(t): r for t, r in zip(node.input_tensors, rows, strict=True)}
        )
        return called(*args, **kwargs)

    graph = forward.get_concrete_function(*specs).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return int(tf.compat.v1.profiler.profile(graph, options=options).total_float_ops)
