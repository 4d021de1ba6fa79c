"""Structures that variables keep while they are trained: zeros that stay zeros, shared values.

After every step each constrained variable is brought back to its structure, inside the compiled
training: a projected gradient step. Keras calls the same hook in ``Model.fit``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from autokit._backend import keras, tf


class Projection(Protocol):
    """Brings one variable back to its structure."""

    def begin(self, variable: keras.Variable) -> None:
        """Make ready for a training that starts from the variable's present value."""

    def __call__(self, value: tf.Tensor) -> tf.Tensor:
        """The nearest value of the structure, as a part of a traced graph."""


@dataclass(frozen=True)
class Constraints:
    """Which variables of a model keep which structure.

    Attributes
    ----------
    key : str
        Two constraints with one key may share a compiled training.
    projections : mapping of int to callable
        A maker of a fresh `Projection`, by the variable's place in ``model.variables``.
    """

    key: str
    projections: Mapping[int, Callable[[], Projection]]

    def attach(self, model: keras.Model) -> Attached:
        """Constrain the variables of a model."""
        chosen = [(model.variables[i], make()) for i, make in sorted(self.projections.items())]
        return Attached(chosen)

    def over(self, other: Constraints | None) -> Constraints:
        """These constraints, and the other's where these say nothing."""
        if other is None:
            return self
        return Constraints(f"{self.key}+{other.key}", {**other.projections, **self.projections})


class Attached:
    """Constraints that are in force on a model's variables.

    Parameters
    ----------
    projections : list of (keras.Variable, Projection)
    """

    def __init__(self, projections: list[tuple[keras.Variable, Projection]]):
        self._projections = projections
        self._former = [variable.constraint for variable, _ in projections]
        for variable, projection in projections:
            projection.begin(variable)
            variable.constraint = _after(variable.constraint, projection)

    def begin(self) -> None:
        """Start anew from the variables' present values."""
        for variable, projection in self._projections:
            projection.begin(variable)

    def detach(self) -> None:
        """Give the variables back the constraints they had."""
        for (variable, _), former in zip(self._projections, self._former, strict=True):
            variable.constraint = former


@dataclass(frozen=True)
class Held:
    """Structure that a model has, and that further training keeps.

    Attributes
    ----------
    zeros : tuple of int
        Places in ``model.variables`` whose zeros stay zeros.
    clusters : tuple of int
        Places whose equal values stay equal.
    """

    zeros: tuple[int, ...] = field(default=())
    clusters: tuple[int, ...] = field(default=())

    def constraints(self) -> Constraints | None:
        """What training is to be constrained by; None if nothing is held."""
        places = {*self.zeros, *self.clusters}
        if not places:
            return None
        kinds = {i: (i in self.zeros, i in self.clusters) for i in sorted(places)}
        return Constraints(
            f"held{kinds}", {i: lambda kind=kind: _Hold(*kind) for i, kind in kinds.items()}
        )


class _Hold:
    """Keeps the zeros, or the sets of equal values, that a variable begins with."""

    def __init__(self, zeros: bool, clusters: bool):
        self._holds_zeros, self._holds_clusters = zeros, clusters
        self._mask = self._place = self._count = None

    def begin(self, variable):
        value = variable.value.numpy()
        if self._holds_zeros:
            self._mask = _assigned(self._mask, (value != 0).astype(value.dtype))
        if self._holds_clusters:
            distinct, place = np.unique(value, return_inverse=True)
            self._place = _assigned(self._place, place.reshape(-1).astype(np.int32))
            self._count = _assigned(self._count, np.int32(len(distinct)))

    def __call__(self, value):
        if self._mask is not None:
            value = value * self._mask
        if self._place is not None:
            flat = tf.reshape(value, [-1])
            means = tf.math.unsorted_segment_mean(flat, self._place, self._count.value())
            value = tf.reshape(tf.gather(means, self._place), tf.shape(value))
        return value


def _assigned(variable, value):
    if variable is None:
        return tf.Variable(value, trainable=False)
    variable.assign(value)
    return variable


def _after(former, projection):
    if former is None:
        return projection
    return lambda value: projection(former(value))
