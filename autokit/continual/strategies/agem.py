"""Averaged gradient episodic memory."""

from __future__ import annotations

from dataclasses import dataclass

from autokit._backend import tf
from autokit.continual.strategies.rehearsal import Rehearsal
from autokit.training.gradients import value_and_gradient


@dataclass(kw_only=True, eq=False, repr=False)
class AGEM(Rehearsal):
    """Never step against the gradient of the memory.

    ::

        if g . g_ref < 0:   g = g - (g . g_ref) / (g_ref . g_ref) * g_ref

    `g_ref` is the gradient of the loss on memory rows. A small step along the projected gradient
    does not raise that loss.

    Parameters
    ----------
    select : {"balanced", "herding", "reservoir"}, default="balanced"
        What the memory keeps: as many rows of each class, those whose features together are
        nearest to their class's mean, or a uniform sample of all rows seen.

    References
    ----------
    Chaudhry, Ranzato, Rohrbach, Elhoseiny, "Efficient lifelong learning with A-GEM", 2019,
    equation 11. As many memory rows as the batch has are drawn with replacement. The optimizer
    gets the projected gradient, so that with momentum (Adam) the promise holds for the gradient,
    not for the step.

    Examples
    --------
    >>> from autokit.continual import AGEM
    >>> AGEM().selection
    'balanced'
    """

    def gradients(self, gradients, params, buffers, batch, step):
        _, reference = value_and_gradient(step.own())(params, buffers, step.memory)
        return projected(gradients, reference, step.has_memory), {}


def projected(gradients: list, reference: list, share=1.0) -> list:
    """Gradients without their part against a reference.

    Parameters
    ----------
    gradients, reference : list of tf.Tensor
        A tensor per parameter.
    share : float or tf.Tensor of shape (), default=1.0
        0 leaves the gradients as they are.

    Returns
    -------
    list of tf.Tensor
    """
    against = tf.minimum(_dot(gradients, reference), 0.0)
    factor = share * tf.math.divide_no_nan(against, _dot(reference, reference))
    return [
        g - tf.cast(factor, g.dtype) * tf.cast(r, g.dtype)
        for g, r in zip(gradients, reference, strict=True)
    ]


def _dot(left, right):
    return tf.add_n(
        [
            tf.reduce_sum(tf.cast(a, tf.float32) * tf.cast(b, tf.float32))
            for a, b in zip(left, right, strict=True)
        ]
    )
