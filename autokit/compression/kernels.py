"""The kernels of a model: which weights are worth thinning, and how a file on a phone sees them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from autokit._backend import keras, tf

# below it a whole number of weights may be further than 1e-3 from the wanted share, and a first
# convolution or a small output layer costs more accuracy than its few bytes are worth
MIN_SIZE = 500

Layers = str | Callable[[Any], bool]


@dataclass(frozen=True)
class Kernel:
    """One weight, and its axes as a matrix product sees them.

    Attributes
    ----------
    place : int
        In ``model.variables``.
    path : str
    shape : tuple of int
    in_axes, out_axes : tuple of int
        Summed over with the inputs, and those of the outputs; any others are positions, as in a
        convolution.
    """

    place: int
    path: str
    shape: tuple[int, ...]
    in_axes: tuple[int, ...]
    out_axes: tuple[int, ...]

    @property
    def size(self) -> int:
        """Count of numbers."""
        return math.prod(self.shape)

    @property
    def n_in(self) -> int:
        """Inputs at one position."""
        return math.prod(self.shape[a] for a in self.in_axes)

    @property
    def n_out(self) -> int:
        """Outputs at one position."""
        return math.prod(self.shape[a] for a in self.out_axes)

    @property
    def _order(self) -> list[int]:
        places = [a for a in range(len(self.shape)) if a not in self.in_axes + self.out_axes]
        return [*self.in_axes, *places, *self.out_axes]

    def fold(self, value: tf.Tensor) -> tf.Tensor:
        """The kernel as a matrix (inputs, positions x outputs).

        A column holds what TensorFlow Lite stores side by side: the inputs of one output (at one
        position), as its fully connected [out, in] and convolution [out, height, width, in] have.
        """
        return tf.reshape(tf.transpose(value, self._order), [self.n_in, -1])

    def unfold(self, matrix: tf.Tensor) -> tf.Tensor:
        """A matrix made by `fold` in the kernel's own shape."""
        order = self._order
        back = [order.index(a) for a in range(len(order))]
        return tf.transpose(tf.reshape(matrix, [self.shape[a] for a in order]), back)


class _Family(NamedTuple):
    """Weights of one type of layer."""

    type: Any
    names: tuple[str, ...]
    axes: Callable[[Any, int], tuple]
    by_default: bool = True


def _matrix(layer, rank):
    return (rank - 2,), (rank - 1,)


def _transposed(layer, rank):
    return (rank - 1,), (rank - 2,)


def _einsum(layer, rank):
    """In axes are summed; axes of the outputs alone are out axes; others are positions."""
    operands, outputs = layer.equation.replace("...", "").split("->")
    inputs, kernel = operands.split(",")
    summed = tuple(a for a, letter in enumerate(kernel) if letter not in outputs)
    own = tuple(a for a, x in enumerate(kernel) if x in outputs and x not in inputs)
    return summed, own


def _no_inputs(layer, rank):
    return (), (rank - 1,)


_RECURRENT = ("kernel", "recurrent_kernel")


def _families() -> tuple[_Family, ...]:
    names = keras.layers
    # the depthwise ones first: they are no subclasses of Conv2D, but call their weight a kernel
    return (
        _Family((names.DepthwiseConv1D, names.DepthwiseConv2D), ("kernel",), _no_inputs, False),
        _Family((names.Embedding,), ("embeddings",), _matrix, False),
        _Family((names.SeparableConv1D, names.SeparableConv2D), ("pointwise_kernel",), _matrix),
        _Family(
            (names.Conv1DTranspose, names.Conv2DTranspose, names.Conv3DTranspose),
            ("kernel",),
            _transposed,
        ),
        _Family((names.Conv1D, names.Conv2D, names.Conv3D, names.Dense), ("kernel",), _matrix),
        _Family((names.EinsumDense,), ("kernel",), _einsum),
        _Family((names.LSTMCell, names.GRUCell, names.SimpleRNNCell), _RECURRENT, _matrix),
        _Family((names.ConvLSTM1D, names.ConvLSTM2D, names.ConvLSTM3D), _RECURRENT, _matrix),
    )


class Selection(NamedTuple):
    """Kernels that were chosen, and why others were not (by path)."""

    kernels: list[Kernel]
    left_alone: dict[str, str]


def select_kernels(
    model: keras.Model,
    layers: Layers = "auto",
    unfit: Callable[[Kernel], str | None] = lambda kernel: None,
) -> Selection:
    """Choose the kernels to compress, by the types of their layers.

    Known are the kernels of Dense, EinsumDense (so also of attention), convolutions (transposed
    and separable ones too) and recurrent cells, and on request those of depthwise convolutions
    and embeddings. Frozen weights are never chosen.

    Parameters
    ----------
    model : keras.Model
    layers : "auto" or callable, default="auto"
        "auto" leaves depthwise convolutions, embeddings and kernels of fewer than 500 numbers
        alone. A predicate is given every layer with weights, the inner ones of composed layers
        included, and chooses freely among the known types; a composed layer stands for all that
        is in it.
    unfit : callable, default=none
        Says why a kernel cannot be taken, or None. "auto" leaves such a kernel alone.

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        If nothing is chosen, or a predicate chose an unfit kernel.
    """
    automatic = layers == "auto"
    wanted = None if automatic else _chosen_by(model, layers)
    places = {id(v): i for i, v in enumerate(model.variables)}
    trainable = {id(v) for v in model.trainable_variables}
    chosen: dict[int, Kernel] = {}
    left: dict[str, str] = {}
    for layer in model._flatten_layers(include_self=False):
        family = next((f for f in _families() if isinstance(layer, f.type)), None)
        if family is None or not (automatic or id(layer) in wanted):
            continue
        for variable in layer.weights:
            if variable.name not in family.names or id(variable) not in trainable:
                continue
            kernel = _kernel(layer, variable, places[id(variable)], family)
            reason = unfit(kernel)
            if automatic and not family.by_default:
                reason = f"{type(layer).__name__} is left alone"
            elif automatic and kernel.size < MIN_SIZE:
                reason = f"fewer than {MIN_SIZE} numbers"
            if reason is None:
                chosen[kernel.place] = kernel
            elif automatic:
                left[kernel.path] = reason
            else:
                raise ValueError(f"layers chose {kernel.path} of shape {kernel.shape}: {reason}.")
    if not chosen:
        raise ValueError(_nothing(automatic, left))
    return Selection([chosen[i] for i in sorted(chosen)], left)


def _kernel(layer, variable, place, family) -> Kernel:
    shape = tuple(int(n) for n in variable.shape)
    return Kernel(place, variable.path, shape, *family.axes(layer, len(shape)))


def _chosen_by(model, predicate) -> set[int]:
    chosen: set[int] = set()
    for layer in model._flatten_layers(include_self=False):
        if layer.weights and predicate(layer):
            chosen.update(id(inner) for inner in layer._flatten_layers())
    return chosen


def _nothing(automatic, left) -> str:
    if not automatic:
        return (
            "layers chose no layer with a trainable kernel; it is called with every layer of the "
            "model and must return True for a Dense, convolutional, recurrent or attention one."
        )
    reasons = "; ".join(f"{path}: {why}" for path, why in left.items()) or "it has none"
    return (
        f"layers='auto' finds no kernel to compress in this model ({reasons}); choose by a "
        "predicate, for example layers=lambda layer: True."
    )
