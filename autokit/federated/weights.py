"""A network's weights as one vector: what servers and clients send each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autokit._backend import keras, tf
from autokit.training.constraints import Constraints
from autokit.training.state import assign, is_statistic


@dataclass(frozen=True)
class WeightLayout:
    """Where each variable of a network lies in a vector: parameters first, statistics behind.

    Statistics are the floating non-trainable variables (moving averages of batch normalisation).
    States of random generators are no weights: every client is given its own.

    Attributes
    ----------
    shapes : tuple of tuple of int
        Of the parameters, in the order of ``model.trainable_variables``, then of the statistics.
    n_trainable : int
        How many of them are parameters.
    normalizing : tuple of bool
        Which of them belong to batch normalisation.
    statistics : tuple of int
        Places of the statistics in ``model.non_trainable_variables``.
    """

    shapes: tuple[tuple[int, ...], ...]
    n_trainable: int
    normalizing: tuple[bool, ...]
    statistics: tuple[int, ...]

    @classmethod
    def of(cls, model: keras.Model) -> WeightLayout:
        """The layout of a model."""
        buffers = model.non_trainable_variables
        statistics = tuple(i for i, v in enumerate(buffers) if is_statistic(v))
        variables = [*model.trainable_variables, *(buffers[i] for i in statistics)]
        own = {
            id(variable)
            for layer in flat_layers(model)
            if isinstance(layer, keras.layers.BatchNormalization)
            for variable in layer.variables
        }
        return cls(
            shapes=tuple(tuple(v.shape) for v in variables),
            n_trainable=len(model.trainable_variables),
            normalizing=tuple(id(v) in own for v in variables),
            statistics=statistics,
        )

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Numbers in each variable."""
        return tuple(int(np.prod(shape, dtype=np.int64)) for shape in self.shapes)

    @cached_property
    def size(self) -> int:
        """Numbers in a vector."""
        return sum(self.sizes)

    @cached_property
    def n_params(self) -> int:
        """Numbers in the parameters."""
        return sum(self.sizes[: self.n_trainable])

    @cached_property
    def normalization_mask(self) -> np.ndarray:
        """Which entries of a vector belong to batch normalisation, bool of shape (size,)."""
        return np.repeat(np.array(self.normalizing, bool), self.sizes)

    def vector(self, model: keras.Model) -> np.ndarray:
        """A model's weights, float32 of shape (size,)."""
        parts = [np.ravel(v.value.numpy()) for v in self.variables(model)]
        return np.concatenate([*parts, np.zeros(0, np.float32)]).astype(np.float32)

    def write(self, model: keras.Model, vector: np.ndarray) -> None:
        """Write a vector into a model of this layout."""
        variables = self.variables(model)
        assign(variables, [part.astype(str(v.dtype)) for v, part in zip(
            variables, self.arrays(vector), strict=True)])  # fmt: skip

    def arrays(self, vector: np.ndarray) -> list[np.ndarray]:
        """A vector as arrays, one per variable."""
        places = np.cumsum(self.sizes)[:-1]
        parts = np.split(np.asarray(vector), places)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def split(self, vector) -> tuple[list, list]:
        """Tensors of the parameters and of the statistics of a vector of shape (..., size)."""
        lead = vector.shape[:-1].as_list()
        lead = [-1] if lead == [None] else lead
        parts = tf.split(vector, self.sizes, axis=-1) if self.size else []
        tensors = [
            tf.reshape(part, [*lead, *shape])
            for part, shape in zip(parts, self.shapes, strict=True)
        ]
        return tensors[: self.n_trainable], tensors[self.n_trainable :]

    def split_params(self, vector) -> list:
        """Tensors of the parameters of a vector of shape (..., n_params)."""
        lead = vector.shape[:-1].as_list()
        lead = [-1] if lead == [None] else lead
        shapes, sizes = self.shapes[: self.n_trainable], self.sizes[: self.n_trainable]
        parts = tf.split(vector, sizes, axis=-1)
        return [tf.reshape(p, [*lead, *shape]) for p, shape in zip(parts, shapes, strict=True)]

    def join(self, params: Sequence, statistics: Sequence, n_lead: int = 0):
        """The inverse of `split`, for tensors with so many leading axes."""
        lead = [-1] if n_lead else []
        parts = [
            tf.reshape(tf.cast(part, tf.float32), [*lead, size])
            for part, size in zip([*params, *statistics], self.sizes, strict=True)
        ]
        return tf.concat(parts, axis=-1)

    def variables(self, model: keras.Model) -> list:
        """A model's variables, in the order of a vector."""
        buffers = model.non_trainable_variables
        return [*model.trainable_variables, *(buffers[i] for i in self.statistics)]


def flat_layers(model: keras.Model) -> list:
    """All layers, those inside nested models and wrappers too."""
    return [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]


def structure_of(
    model: keras.Model, constraints: Constraints | None
) -> Callable[[np.ndarray], np.ndarray] | None:
    """What brings a vector to the structure that a model's variables have now, or None."""
    if constraints is None:
        return None
    layout = WeightLayout.of(model)
    places = {id(variable): i for i, variable in enumerate(layout.variables(model))}
    projections = {}
    for number, make in constraints.projections.items():
        variable, projection = model.variables[number], make()
        projection.begin(variable)
        projections[places[id(variable)]] = projection

    def structured(vector: np.ndarray) -> np.ndarray:
        arrays = layout.arrays(vector)
        for place, projection in projections.items():
            arrays[place] = projection(tf.constant(arrays[place])).numpy()
        return np.concatenate([np.ravel(array) for array in arrays])

    return structured
