"""Supernets: one network that holds every architecture of a space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.layers.mixed import MixedOperation
from autokit.training import seeded


@dataclass(frozen=True)
class Supernet:
    """A network whose edges hold all operations, and the way from its edges to architectures.

    What one-shot methods know of a space is this class: they never ask which space it is. A
    space makes its own in the method ``supernet(input_shape, n_outputs, output_activation)``.

    An *edge* carries one operation, or none if it is left out. Cells that are stacked several
    times share their edges' mixture, not their weights.

    Parameters
    ----------
    model : keras.Model
        From ``[rows, mixture]`` to outputs, `mixture` of shape (n_edges, n_operations); its edges
        are `autokit.layers.mixed.MixedOperation`.
    operations : tuple of str
        What an edge may carry, in the order of the mixture's columns.
    nodes : tuple of tuple of int
        The edges that enter each node.
    options : tuple of int
        Of each decision that makes an architecture.
    skip : int or None
        Place of the skip connection among `operations`.
    none : int or None
        Place of the operation that answers zeros.
    """

    model: keras.Model
    operations: tuple[str, ...]
    nodes: tuple[tuple[int, ...], ...]
    options: tuple[int, ...]
    skip: int | None = None
    none: int | None = None

    def discretise(self, mixture: np.ndarray) -> Any:
        """The architecture that a mixture stands for.

        Parameters
        ----------
        mixture : np.ndarray of shape (n_edges, n_operations)
            Higher is stronger: probabilities or logits.
        """
        raise NotImplementedError

    def choices(self, architecture: Any) -> np.ndarray:
        """The operation of each edge; ``n_operations`` where the edge is left out.

        Returns
        -------
        np.ndarray of int32 of shape (n_edges,)
        """
        raise NotImplementedError

    def architecture(self, decisions: Sequence[int]) -> Any:
        """The architecture that decisions make, each below its number of options."""
        raise NotImplementedError

    def route(self, decisions: Any) -> Any:
        """The operation of each edge by the decisions, within the graph.

        Parameters
        ----------
        decisions : tf.Tensor of int32 of shape (n, n_decisions)

        Returns
        -------
        tf.Tensor of int32 of shape (n, n_edges)
        """
        raise NotImplementedError

    @property
    def n_edges(self) -> int:
        """Rows of the mixture."""
        return sum(map(len, self.nodes))

    @property
    def edge_names(self) -> tuple[str, ...]:
        """A name per edge, for people."""
        return tuple(f"edge {i}" for i in range(self.n_edges))

    @property
    def n_operations(self) -> int:
        """Columns of the mixture."""
        return len(self.operations)

    @cached_property
    def single(self) -> keras.Model:
        """The same layers, from ``[rows, choices]`` to outputs: only what is chosen is computed."""
        rows = keras.Input(self.model.inputs[0].shape[1:], dtype=self.model.inputs[0].dtype)
        choices = keras.Input(batch_shape=(self.n_edges,), dtype="int32")
        return keras.models.clone_model(
            self.model, input_tensors=[rows, choices], clone_function=lambda layer: layer
        )

    @property
    def scales(self) -> set[int]:
        """Places, among the trainable variables, of what rescales the operations' outputs.

        While operations are mixed, a trained scale would compete with the mixture: DARTS holds
        those of batch normalisation at one and zero (its appendix A.1.1).
        """
        found = set()
        for mixed in self.model.layers:
            for operation in getattr(mixed, "operations", ()):
                for layer in [] if operation is None else operation._flatten_layers():
                    if isinstance(layer, keras.layers.BatchNormalization):
                        found |= {v.path for v in layer.trainable_variables}
        places = enumerate(self.model.trainable_variables)
        return {i for i, v in places if v.path in found}

    def one_hot(self, architecture: Any) -> np.ndarray:
        """The mixture that is one architecture.

        Returns
        -------
        np.ndarray of float32 of shape (n_edges, n_operations)
        """
        rows = np.eye(self.n_operations + 1, self.n_operations, dtype="float32")
        return rows[self.choices(architecture)]

    def counts(self, architecture: Any) -> dict[str, int]:
        """How many edges of an architecture carry each operation."""
        found = np.bincount(self.choices(architecture), minlength=self.n_operations)
        return {name: int(n) for name, n in zip(self.operations, found, strict=False)}

    def skip_share(self, architecture: Any) -> float:
        """Skip connections as a share of the edges that carry anything."""
        chosen = self.choices(architecture)
        carrying = (chosen != self.n_operations) & (chosen != self.none)
        return float((chosen[carrying] == self.skip).mean()) if carrying.any() else 0.0


def mixture_inputs(input_shape: Sequence[int], n_edges: int, n_operations: int) -> tuple:
    """The two inputs of a supernet, and its edges by number.

    Parameters
    ----------
    input_shape : sequence of int
    n_edges, n_operations : int

    Returns
    -------
    rows, mixture : keras.KerasTensor
    edge : callable
        ``(number, x, operations) -> y``: a new mixed operation whose mixture is row `number`.
    """
    rows = keras.Input(tuple(int(n) for n in input_shape))
    mixture = keras.Input(batch_shape=(n_edges, n_operations))

    def edge(number, x, operations):
        return MixedOperation(operations)(x, mixture[number])

    return rows, mixture, edge


def operation_layers(builders, x, width: int, strides: int = 1) -> list:
    """The operations of one edge, each a model of its own from tensors like `x`.

    Parameters
    ----------
    builders : dict of str to callable
        ``(x, width, strides) -> y`` by name; "none" becomes None.
    x : keras.KerasTensor
    width : int
    strides : int, default=1
    """
    made = []
    for name, build in builders.items():
        inputs = keras.Input(x.shape[1:])
        outputs = None if name == "none" else build(inputs, width, strides)
        if outputs is None:
            made.append(None)
        else:
            made.append(
                keras.layers.Identity() if outputs is inputs else keras.Model(inputs, outputs)
            )
    return made


def make_supernet(space, task, seed: int) -> Supernet:
    """The supernet of a space for a task.

    Raises
    ------
    ValueError
        The space has none.
    """
    make = getattr(space, "supernet", None)
    if make is None:
        raise ValueError(
            f"The space {type(space).__name__} has no supernet, which one-shot methods and shared "
            "weights need; choose space='cell' or 'nb201', or give it a method "
            "supernet(input_shape, n_outputs, output_activation)."
        )
    with seeded(seed):
        return make(task.input_shape, task.n_outputs, task.output_activation)


def values(variables) -> list[tf.Tensor]:
    """The tensors of Keras variables."""
    return [v.value for v in variables]
