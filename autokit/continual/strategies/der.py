"""Dark experience replay."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit._backend import tf
from autokit.continual.strategies.rehearsal import Rehearsal, rehearsed


@dataclass(kw_only=True, eq=False, repr=False)
class DERPlusPlus(Rehearsal):
    """Rehearse rows with what the network answered when they were stored.

    ::

        loss = loss(batch) + alpha * mean((z - z_stored)^2) + beta * loss(memory rows)

    `z` are the logits of the memory rows. Those of units that came later have nothing stored and
    do not count.

    Parameters
    ----------
    alpha : float >= 0, default=0.1
        0 with `beta` 1 is plain rehearsal.
    beta : float >= 0, default=1.0
        0 is DER.
    select : {"balanced", "herding", "reservoir"}, default="reservoir"
        What the memory keeps: as many rows of each class, those whose features together are
        nearest to their class's mean, or a uniform sample of all rows seen.

    References
    ----------
    Buzzega, Boschini, Porrello, Abati, Calderara, "Dark experience for general continual
    learning", 2020, equation 6. One draw of memory rows serves both terms, where the paper has
    two. Logits are stored when an experience is over, not while it is learnt. Where tasks have
    heads, the logits of a row's own head count.

    Examples
    --------
    >>> from autokit.continual import DERPlusPlus
    >>> DERPlusPlus(beta=0.0).alpha
    0.1
    """

    alpha: float = 0.1
    beta: float = 1.0
    select: str = "reservoir"

    stores_outputs: ClassVar[bool] = True
    classifies_only: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {
        **Rehearsal._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
        "beta": [Interval(Real, 0, None, closed="left")],
    }

    def before(self, experience):
        return {"alpha": np.float32(self.alpha), "beta": np.float32(self.beta)}

    def objective(self, objective, step):
        own = step.own()

        def with_memory(params, buffers, batch):
            new = objective(params, buffers, batch)
            old = rehearsed(own, params, new, step)
            inside = tf.equal(step.groups[None, :], tf.gather(step.groups, step.memory.y)[:, None])
            apart = mean_square(tf.cast(old.outputs, tf.float32), step.memory_outputs, inside)
            pull = step.state["alpha"] * apart + step.state["beta"] * old.loss
            return new._replace(loss=new.loss + step.has_memory * pull, buffers=old.buffers)

        return with_memory


def mean_square(outputs, stored, inside):
    """The mean squared difference where `inside` holds and something is stored (not NaN).

    Parameters
    ----------
    outputs, stored : tf.Tensor of shape (n_rows, n_units)
    inside : tf.Tensor of bool, of that shape

    Returns
    -------
    tf.Tensor of shape ()
        0 if there is no such entry.
    """
    counts = inside & ~tf.math.is_nan(stored)
    # both sides are masked first: the gradient of a difference with NaN would be NaN
    apart = tf.where(counts, outputs, 0.0) - tf.where(counts, stored, 0.0)
    n_counts = tf.reduce_sum(tf.cast(counts, tf.float32))
    return tf.math.divide_no_nan(tf.reduce_sum(tf.square(apart)), n_counts)
