"""Which channels of a network go together, and the network without some of them.

A channel that a layer computes is read by others, through layers that keep channels apart. All of
them lose it at once; channels that are added up form one group. What enters and leaves the
network, and what a layer of unknown kind touches, stays whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.compression.surgery import rebuilt
from autokit.layers.graphs import Graph

_L = keras.layers
_PRODUCERS = (_L.Dense, _L.Conv1D, _L.Conv2D, _L.Conv3D)
_SEPARABLE = (_L.SeparableConv1D, _L.SeparableConv2D)
_DEPTHWISE = (_L.DepthwiseConv1D, _L.DepthwiseConv2D)
_SUMS = (_L.Add, _L.Subtract, _L.Multiply, _L.Average, _L.Maximum, _L.Minimum)
_KEEPING = (
    _L.Activation, _L.ReLU, _L.LeakyReLU, _L.ELU, _L.Dropout, _L.SpatialDropout1D,
    _L.SpatialDropout2D, _L.AlphaDropout, _L.GaussianNoise, _L.GaussianDropout, _L.MaxPooling1D,
    _L.MaxPooling2D, _L.AveragePooling1D, _L.AveragePooling2D, _L.GlobalAveragePooling1D,
    _L.GlobalAveragePooling2D, _L.GlobalMaxPooling1D, _L.GlobalMaxPooling2D, _L.ZeroPadding1D,
    _L.ZeroPadding2D, _L.UpSampling1D, _L.UpSampling2D, _L.Cropping1D, _L.Cropping2D,
)  # fmt: skip
_WEIGHTED = (*_PRODUCERS, *_SEPARABLE, *_DEPTHWISE, _L.BatchNormalization)


@dataclass
class Axis:
    """The last axis of a tensor: `repeats` times the channels of a group, one after another."""

    group: int
    repeats: int = 1


@dataclass
class ChannelGraph:
    """Groups of channels in a network.

    Attributes
    ----------
    graph : Graph
    sizes : dict of int to int
        Channels of each group that may lose some.
    reads, writes : dict of str to Axis
        What each layer with weights reads and writes, by its name.
    """

    graph: Graph
    sizes: dict[int, int] = field(default_factory=dict)
    reads: dict[str, Axis] = field(default_factory=dict)
    writes: dict[str, Axis] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph) -> ChannelGraph:
        """Find the groups."""
        return _Finder(graph).find()

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """All layers, each once."""
        return list(dict.fromkeys(call.layer for call in self.graph.calls))

    def n_weights(self, kept: Mapping[int, int]) -> int:
        """Weights of the network with so many channels left in each group."""
        total = 0
        for layer in self.layers:
            if layer.name not in self.writes:
                total += sum(int(np.prod(v.shape)) for v in getattr(layer, "weights", ()))
                continue
            n_in = self._share(self.reads[layer.name], kept)
            n_out = self._share(self.writes[layer.name], kept)
            for v, axes in _axes(layer):
                part = np.prod([{"in": n_in, "out": n_out}[a] for a in axes.values()])
                total += round(int(np.prod(v.shape)) * part)
        return total

    def saliencies(self, gradients: Mapping[str, list[np.ndarray]]) -> dict[int, np.ndarray]:
        """How much the loss misses each channel, to first order.

        ``(sum over the weights that read the channel of w dL/dw)^2``, a mean over batches: the
        loss change of setting them to zero (Molchanov et al. 2017, equation 8, summed over the
        readers). Each group has norm 1, so that groups compare (their section 2.2).

        Parameters
        ----------
        gradients : dict of str to list of ndarray
            ``w dL/dw`` of each reading kernel, by the layer's name, one per batch.

        Returns
        -------
        dict of int to ndarray
            By group.
        """
        sums: dict[int, np.ndarray] = {}
        for name, products in gradients.items():
            axis = self.reads[name]
            if axis.group not in self.sizes:
                continue
            for batch, product in enumerate(products):
                by_row = product.sum(
                    axis=tuple(i for i in range(product.ndim) if i != product.ndim - 2)
                )
                total = by_row.reshape(axis.repeats, -1).sum(axis=0)
                size = (len(products), self.sizes[axis.group])
                sums.setdefault(axis.group, np.zeros(size))[batch] += total
        means = {group: np.mean(np.square(values), axis=0) for group, values in sums.items()}
        return {g: m / max(float(np.linalg.norm(m)), 1e-30) for g, m in means.items()}

    def narrowed(self, kept: Mapping[int, np.ndarray]) -> keras.Model:
        """The network with some channels alone.

        Parameters
        ----------
        kept : dict of int to ndarray of int
            Places of the channels that stay, by group; groups that are absent stay whole.

        Returns
        -------
        keras.Model
        """
        made: dict[str, tuple[Any, list]] = {}

        def places(axis):
            if axis.group not in kept:
                return None
            chosen = np.asarray(kept[axis.group])
            size = self.sizes[axis.group]
            return np.concatenate([chosen + i * size for i in range(axis.repeats)])

        def change(layer, x):
            axes = [a for a in (self.reads, self.writes) if layer.name in a]
            if not any(a[layer.name].group in kept for a in axes):
                return None
            if layer.name not in made:
                chosen = {
                    "in": places(self.reads[layer.name]),
                    "out": places(self.writes[layer.name]),
                }
                config = layer.get_config()
                if chosen["out"] is not None:
                    size_name = "units" if "units" in config else "filters"
                    if size_name in config:
                        config[size_name] = len(chosen["out"])
                made[layer.name] = (type(layer).from_config(config), _taken(layer, chosen))
            return made[layer.name][0](x)

        model = rebuilt(self.graph, change)
        for layer, weights in made.values():
            layer.set_weights(weights)
        return model

    def _share(self, axis: Axis, kept: Mapping[int, int]) -> float:
        size = self.sizes.get(axis.group)
        return 1.0 if size is None else kept.get(axis.group, size) / size


def reading_kernel(layer: keras.layers.Layer) -> tf.Variable | None:
    """The kernel by which a layer reads channels, its last axis but one; None if it has none."""
    if isinstance(layer, _SEPARABLE):
        return layer.pointwise_kernel
    return layer.kernel if type(layer) in _PRODUCERS else None


class _Finder:
    """Unites the axes of tensors that must keep the same channels."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self._parent: list[int] = []
        self._size: list[int] = []
        self._frozen: set[int] = set()
        self._axes: dict[int, Axis] = {}

    def find(self) -> ChannelGraph:
        reads: dict[str, Axis] = {}
        writes: dict[str, Axis] = {}
        for tensor in self.graph.inputs:
            self._freeze(self._new(tensor))
        for call in self.graph.calls:
            layer, inputs, outputs = call.layer, call.inputs, keras.tree.flatten(call.outputs)
            axis = self._step(layer, inputs, outputs)
            for tensor in outputs:
                self._axes[id(tensor)] = axis
            if type(layer) in _WEIGHTED:
                for known, new in ((reads, self._axes[id(inputs[0])]), (writes, axis)):
                    if layer.name in known:
                        self._unite(known[layer.name], new)
                    known[layer.name] = new
        for tensor in self.graph.outputs:
            self._freeze(self._axes[id(tensor)])
        frozen = {self._root(g) for g in self._frozen}
        groups = {self._root(a.group) for a in writes.values()} - frozen
        sizes = {g: self._size[g] for g in groups}

        def rooted(axes):
            return {name: Axis(self._root(a.group), a.repeats) for name, a in axes.items()}

        return ChannelGraph(self.graph, sizes, rooted(reads), rooted(writes))

    def _step(self, layer, inputs, outputs) -> Axis:
        """The axis that a call writes."""
        axes = [self._axes[id(t)] for t in inputs]
        kind = type(layer)
        if getattr(layer, "data_format", None) == "channels_first":
            return self._unknown(axes, outputs[0])
        if kind in (*_PRODUCERS, *_SEPARABLE) and getattr(layer, "groups", 1) == 1:
            if getattr(layer, "depth_multiplier", 1) == 1 and not hasattr(layer, "lora_kernel_a"):
                written = self._new(outputs[0])
                return self._freeze(written) if _mixes(layer) else written
        elif _mixes(layer):
            pass
        elif kind in _DEPTHWISE and layer.depth_multiplier == 1:
            return axes[0]
        elif kind in _KEEPING or (kind is _L.BatchNormalization and _is_last(layer, inputs[0])):
            return axes[0]
        elif kind is _L.Flatten:
            return Axis(axes[0].group, axes[0].repeats * int(np.prod(inputs[0].shape[1:-1])))
        elif kind in _SUMS and len({t.shape for t in inputs}) == 1:
            for other in axes[1:]:
                self._unite(axes[0], other)
            return axes[0]
        return self._unknown(axes, outputs[0])

    def _unknown(self, axes, output) -> Axis:
        for axis in axes:
            self._freeze(axis)
        return self._freeze(self._new(output))

    def _new(self, tensor) -> Axis:
        group = len(self._parent)
        self._parent.append(group)
        self._size.append(int(tensor.shape[-1] or 0) if len(tensor.shape) else 0)
        self._axes[id(tensor)] = Axis(group)
        return self._axes[id(tensor)]

    def _freeze(self, axis: Axis) -> Axis:
        self._frozen.add(axis.group)
        return axis

    def _unite(self, a: Axis, b: Axis) -> None:
        if a.repeats != b.repeats:
            self._frozen |= {a.group, b.group}
        self._parent[self._root(b.group)] = self._root(a.group)

    def _root(self, group: int) -> int:
        while self._parent[group] != group:
            group = self._parent[group]
        return group


def _mixes(layer) -> bool:
    return getattr(layer, "activation", None) is keras.activations.softmax


def _is_last(layer, tensor) -> bool:
    return layer.axis in (-1, len(tensor.shape) - 1)


def _axes(layer) -> list[tuple[Any, dict[int, str]]]:
    """Each variable of a layer, in the order of its weights, and which axes are channels."""
    if isinstance(layer, _L.BatchNormalization):
        return [(v, {0: "out"}) for v in layer.weights]
    named = []
    for v in layer.weights:
        if len(v.shape) == 1:
            named.append((v, {0: "out"}))
        elif isinstance(layer, _DEPTHWISE) or (
            isinstance(layer, _SEPARABLE) and v is layer.depthwise_kernel
        ):
            named.append((v, {len(v.shape) - 2: "in"}))
        else:
            named.append((v, {len(v.shape) - 2: "in", len(v.shape) - 1: "out"}))
    return named


def _taken(layer, chosen: dict[str, np.ndarray | None]) -> list[np.ndarray]:
    weights = []
    for v, axes in _axes(layer):
        value = v.numpy()
        for axis, which in axes.items():
            if chosen[which] is not None:
                value = value.take(chosen[which], axis=axis)
        weights.append(value)
    return weights
