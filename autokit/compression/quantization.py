"""Quantisation-aware training: a network learns to answer well in integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Options

from autokit._backend import keras, tf
from autokit.compression.folding import DEPTHWISE, SEPARABLE, depthwise_name, folded, pointwise_name
from autokit.compression.method import CompressionMethod, Outcome, as_verb
from autokit.compression.task import Task
from autokit.layers.fake_quant import FAKE_QUANT_OF, FakeQuantRange
from autokit.layers.graphs import Call, Copies, Graph, graph_of, rebuilt
from autokit.layers.integer import (
    AVERAGING,
    COMPUTING,
    FIXED_RANGES,
    FUSED,
    SAME_SCALE,
    activation_of,
    float_layers,
    has_fake_quant,
    is_nonlinear,
    leading,
    without_fake_quant,
)
from autokit.training import Held

_CALIBRATION_ROWS, _ROWS = 1024, 128


@dataclass(kw_only=True, eq=False, repr=False)
class QuantizeAware(CompressionMethod):
    """Quantisation-aware training (Jacob et al. 2018).

    Batch normalisations are folded into the weights before them and separable convolutions are
    split; then the network is trained on with weights and activations rounded to the integers'
    grid in every forward pass, and gradients passed straight through the rounding::

        s = max|w| / (2^(bits-1) - 1)       w' = s round(w / s)           an output channel
        s = (high - low) / 255              x' = s round(clip(x, low, high) / s)     a tensor

    The ranges of activations are found on training rows and then follow the batches as moving
    averages; those of outputs only grow. ``export_tflite(..., quantization="int8")`` writes a
    file of integers that computes the same: on the same grids, to a step of the output. The other
    quantisations write the trained weights without the rounding of activations.

    Parameters
    ----------
    bits : {8, 4}, default=8
        Of the weights of Dense and convolutional layers; activations and depthwise weights have
        8. The weights of 4 bits are those that ``export_tflite(..., quantization="int4")``
        stores; "int8" stores them too, in a byte each.
    epochs, batch_size, learning_rate, validation_fraction, max_score_drop, random_state
        See `CompressionMethod`. The learning rate is that of training a network anew, at the
        start; a tenth of it is often enough.

    Raises
    ------
    ValueError
        If there is no layer to quantise, or the network is no graph of layers.

    Notes
    -----
    Quantised are Dense, Conv1D, Conv2D, DepthwiseConv and SeparableConv layers, sums, products,
    concatenations, pooling, and the activations relu, relu6, gelu, silu, elu, leaky_relu, sigmoid,
    tanh, softmax. Other layers (recurrent, attention, embeddings, normalisations that cannot be
    folded, layers of your own) are trained in floats and named in ``details["float"]`` of the
    report. The int8 file of a network with such a layer takes the ranges of its activations from
    ``representative_data``, as without quantisation-aware training: the converter reads ranges
    for all of a network or for none.

    Layers of normalisation that the network starts with stay float also in the file. The
    probabilities of a network that ends in softmax are not rounded in training, though the file
    has them in steps of 1/256. Zeros of a pruned network stay zeros, and of a clustered one the
    weights of a channel that were equal stay equal.

    References
    ----------
    Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference. Departures: the normalisation is folded once, before
    training (section 3.2 keeps its batch statistics); weights have a scale an output channel.

    Examples
    --------
    >>> from autokit import export_tflite, quantize_aware
    >>> quantized = quantize_aware(classifier, X, y, epochs=5)  # doctest: +SKIP
    >>> report = export_tflite(quantized, "model.tflite", quantization="int8",
    ...                        representative_data=X)  # doctest: +SKIP
    """

    bits: int = 8

    _parameter_constraints = {
        **CompressionMethod._parameter_constraints,
        "bits": [Options(int, {8, 4})],
    }

    def _compress(self, task: Task) -> Outcome:
        original = task.model
        float_model = without_fake_quant(original) if has_fake_quant(original) else original
        try:
            float_model = folded(float_model)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"estimator_or_model: its model cannot be rebuilt for quantisation: {error}"
            ) from error
        graph = graph_of(float_model)
        quantized, ranges = _fake_quantized(graph, self.bits)
        _calibrate(graph, ranges, task.train.x[:_CALIBRATION_ROWS])
        task.held = _moved(task.held, original, quantized)
        task.model = quantized
        task.tune(self.epochs)
        layers = dict.fromkeys(call.layer for call in graph.calls)
        return Outcome(
            quantized,
            task.held,
            {
                "bits": self.bits,
                "quantized": [x.name for x in layers if type(x) in FAKE_QUANT_OF],
                "float": float_layers(graph),
            },
        )


quantize_aware = as_verb(
    QuantizeAware, "quantize_aware", "Train a fitted estimator or model on for integer arithmetic."
)


def _fake_quantized(graph: Graph, bits: int) -> tuple[keras.Model, list]:
    """The network with rounding, and its ranges with the tensors that they are the ranges of."""
    if not any(type(call.layer) in FAKE_QUANT_OF for call in graph.calls):
        raise ValueError(
            "estimator_or_model: no layer of its model can be quantised; Dense, Conv1D, Conv2D, "
            "DepthwiseConv and SeparableConv layers can."
        )
    rounding = _Rounding(graph, bits)
    model = rebuilt(graph, rounding.emit)
    return model, rounding.learned


class _Rounding:
    """Rebuilds a network with rounded weights and activations."""

    def __init__(self, graph: Graph, bits: int) -> None:
        self.learned: list[tuple[FakeQuantRange, Any]] = []
        self._graph, self._bits = graph, bits
        self._copies = Copies()
        # Behind which tensor there is which range; those of max-poolings and the like share it.
        self._range_of: dict[int, FakeQuantRange] = {}
        entries = [*graph.inputs, *(call.outputs for call in leading(graph))]
        self._to_enter = {id(t) for t in entries if "float" in str(t.dtype)}
        self._to_enter -= {id(call.inputs[0]) for call in leading(graph)}
        self._entered: dict[int, Any] = {}

    def emit(self, call: Call, *args: Any, **kwargs: Any) -> Any:
        flat = [x for x in keras.tree.flatten((args, kwargs)) if keras.utils.is_keras_tensor(x)]
        rounded = {id(x): self._enter(old, x) for old, x in zip(call.inputs, flat, strict=True)}
        args, kwargs = keras.tree.map_structure(lambda x: rounded.get(id(x), x), (args, kwargs))
        layer, outputs = call.layer, self._called(call, args, kwargs)
        if activation_of(layer) in FIXED_RANGES and not self._graph.is_output(call):
            return self._ranged(call.outputs, outputs, FIXED_RANGES[activation_of(layer)])
        if _has_range(self._graph, call):
            return self._ranged(call.outputs, outputs)
        if type(layer) in SAME_SCALE and id(call.inputs[0]) in self._range_of:
            known = self._range_of[id(call.outputs)] = self._range_of[id(call.inputs[0])]
            if type(layer) in AVERAGING:
                return known(outputs, training=False)  # it learns from what goes in alone
        return outputs

    def _called(self, call: Call, args: tuple, kwargs: dict) -> Any:
        layer = call.layer
        kind = FAKE_QUANT_OF.get(type(layer))
        if kind is None:
            return self._copies.emit(call, *args, **kwargs)

        def make():
            config = self._copies.config_of(layer)
            return kind.from_config({**config, "bits": _bits_of(layer, self._bits)})

        return self._copies.called(layer, make, args, kwargs, layer.variables)

    def _enter(self, old: Any, new: Any) -> Any:
        """Round what comes in from outside; all who take it get the same."""
        if id(old) not in self._to_enter:
            return new
        if id(old) not in self._entered:
            self._entered[id(old)] = self._ranged(old, new)
        return self._entered[id(old)]

    def _ranged(self, old: Any, new: Any, fixed: tuple[float, float] | None = None) -> Any:
        # What the network answers must not be cut off: a regression's extremes would be lost.
        shrinks = not any(old is t for t in self._graph.outputs)
        name = self._copies.distinct("range")
        layer = FakeQuantRange(fixed=fixed, shrinks=shrinks, name=name)
        self._range_of[id(old)] = layer
        if fixed is None:
            self.learned.append((layer, old))
        return layer(new)


def _bits_of(layer: Any, bits: int) -> int:
    # Depthwise weights are few, and LiteRT has no kernel for fewer bits.
    return 8 if isinstance(layer, DEPTHWISE) else bits


def _has_range(graph: Graph, call: Call) -> bool:
    """Whether what a call returns is rounded there, as LiteRT does."""
    layer = call.layer
    if activation_of(layer) in FUSED or is_nonlinear(layer):
        return True
    if type(layer) not in (*FAKE_QUANT_OF, *COMPUTING):
        return False
    follower = graph.sole_consumer(call)
    return follower is None or activation_of(follower.layer) not in FUSED


def _calibrate(graph: Graph, ranges: list, x: Any) -> None:
    """Set ranges to what the network in floats shows on rows."""
    tensors = [tensor for _, tensor in ranges]
    network = keras.Model(graph.inputs, tensors if len(tensors) > 1 else tensors[0])

    @tf.function(autograph=False)
    def extremes(rows):
        values = keras.tree.flatten(network(rows, training=False))
        return [tf.cast((tf.reduce_min(v), tf.reduce_max(v)), tf.float32) for v in values]

    # Rows in pieces: all tensors of the network are in memory at once.
    pieces = [extremes(tf.constant(x[i : i + _ROWS])) for i in range(0, len(x), _ROWS)]
    for (layer, _), found in zip(ranges, np.swapaxes(pieces, 0, 1), strict=True):
        layer.set_range(found[:, 0].min(), found[:, 1].max())


def _moved(held: Held, old: keras.Model, new: keras.Model) -> Held:
    """The places of what is held in a network that was folded and rounded."""
    renamed = {}
    for layer in old._flatten_layers():
        if type(layer) in SEPARABLE:
            renamed[id(layer.depthwise_kernel)] = f"{depthwise_name(layer)}/kernel"
            renamed[id(layer.pointwise_kernel)] = f"{pointwise_name(layer)}/kernel"
    # The last two parts of a path: layer and weight, whatever models they were nested in.
    places = {tuple(v.path.split("/")[-2:]): i for i, v in enumerate(new.variables)}

    def moved(former):
        paths = (renamed.get(id(old.variables[i]), old.variables[i].path) for i in former)
        found = (places.get(tuple(path.split("/")[-2:])) for path in paths)
        return tuple(sorted(i for i in found if i is not None))

    return Held(moved(held.zeros), moved(held.clusters))
