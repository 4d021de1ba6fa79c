"""Regimes: how the gradient of one training step is made, where it is not the loss's own.

A continual method pulls towards anchors, rehearses a memory, projects gradients, and measures how
much each weight did: all of it happens inside the compiled training, between the batch and the
optimizer's update.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from autokit._backend import keras, tf
from autokit.training.gradients import value_and_gradient
from autokit.training.objectives import task_objective


@dataclass(frozen=True)
class Regime:
    """How the steps of a training find their gradients.

    Attributes
    ----------
    key : str
        Two regimes with one key make the same `gradient` and may share a compiled training; what
        differs between them is in `fixed` and `running`.
    gradient : callable
        ``gradient(model, loss, scaled)`` gives, when a training is traced, the function
        ``(params, buffers, batch, fixed, running) -> (Step, gradients, running)``. ``scaled``
        wraps the objective that is differentiated (mixed precision multiplies its loss).
    fixed : nest of arrays
        What steps read. Arrays below the keys named in `free` may have any number of rows
        without a new trace.
    running : nest of arrays
        What steps read and change; its values after training are ``FitResult.running``.
    free : tuple of str
        Keys of `fixed`, which is a dict then.
    order : {"shuffled", "poisson"}, default="shuffled"
        How steps draw their rows, see `autokit.training.orders`.
    report : callable or None, default=None
        ``(n_steps) -> dict of str to float``: further logs of an epoch, by the steps so far.
    """

    key: str
    gradient: Callable[[keras.Model, keras.losses.Loss, Callable], Callable]
    fixed: Any = field(default_factory=dict)
    running: Any = field(default_factory=dict)
    free: tuple[str, ...] = ()
    order: str = "shuffled"
    report: Callable[[int], dict[str, float]] | None = None

    def fixed_specs(self) -> list[tf.TensorSpec]:
        """What a trace must know of each array of `fixed`, in the order of ``tf.nest.flatten``."""
        if not self.free:
            return _specs(self.fixed)
        nests = {k: _specs(v, free=k in self.free) for k, v in self.fixed.items()}
        return tf.nest.flatten(
            {k: tf.nest.pack_sequence_as(self.fixed[k], nests[k]) for k in nests}
        )

    def running_specs(self) -> list[tf.TensorSpec]:
        """The same for `running`."""
        return _specs(self.running)


def descent() -> Regime:
    """Plain descent on the model's own loss."""
    return Regime("", _descent)


def _descent(model, loss, scaled):
    gradient = value_and_gradient(scaled(task_objective(model, loss)))

    def step(params, buffers, batch, fixed, running):
        result, gradients = gradient(params, buffers, batch)
        return result, gradients, running

    return step


def _specs(nest, free: bool = False) -> list[tf.TensorSpec]:
    tensors = [tf.convert_to_tensor(part) for part in tf.nest.flatten(nest)]
    return [tf.TensorSpec((None, *t.shape[1:]) if free else t.shape, t.dtype) for t in tensors]
