"""Experience replay."""

from __future__ import annotations

from dataclasses import dataclass

from autokit._backend import tf
from autokit.continual.strategies.rehearsal import Rehearsal, rehearsed


@dataclass(kw_only=True, eq=False, repr=False)
class Replay(Rehearsal):
    """Rehearse rows of earlier experiences in every step.

    ::

        loss = 1/n * loss(batch) + (1 - 1/n) * loss(memory rows)        n-th experience

    Parameters
    ----------
    select : {"balanced", "herding", "reservoir"}, default="reservoir"
        What the memory keeps: as many rows of each class, those whose features together are
        nearest to their class's mean, or a uniform sample of all rows seen, which has the classes'
        own shares: where one is rare, a balanced memory would make the network expect it often.

    References
    ----------
    van de Ven, Tuytelaars, Tolias, "Three types of incremental learning", 2022, equation 5:
    the weights. As many memory rows as the batch has are drawn with replacement.

    Examples
    --------
    >>> from autokit.continual import Replay
    >>> Replay(select="balanced").selection
    'balanced'
    """

    select: str = "reservoir"

    def objective(self, objective, step):
        own = step.own()
        # without a memory the whole weight is the batch's
        share = step.has_memory * (1.0 - 1.0 / (1.0 + tf.cast(step.n_before, tf.float32)))

        def with_memory(params, buffers, batch):
            new = objective(params, buffers, batch)
            old = rehearsed(own, params, new, step)
            loss = (1.0 - share) * new.loss + share * old.loss
            return new._replace(loss=loss, buffers=old.buffers)

        return with_memory
