"""Reptile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autokit._backend import tf
from autokit.meta.methods.inner import InnerLoop
from autokit.training import Step, TensorBatch, local_updates
from autokit.training.gradients import mean_over_tasks
from autokit.training.updates import adam


@dataclass(kw_only=True, eq=False, repr=False)
class Reptile(InnerLoop):
    """Move towards where ordinary training on each task ends.

    ::

        p_t = inner_steps of Adam(beta_1=0) on mini-batches of task t, from p
        p <- p + outer_learning_rate * mean_t (p_t - p)

    There are no queries in its training: support rows and queries are learnt alike, and a
    mini-batch has as many rows of each class. The outer rate falls to 0 linearly.

    Parameters
    ----------
    inner_steps : int, default=5
    inner_learning_rate : float, default=0.001
    adaptation_steps : int, default=50
    inner_shots : int, default=2
        Rows of each class in a mini-batch.

    References
    ----------
    Nichol, Achiam, Schulman, "On First-Order Meta-Learning Algorithms", 2018, algorithm 2 and
    table 3. On Omniglot 10 rows of a class: ``k_shot=1, n_query=9``. Their Adam keeps its second
    moments from task to task; ours begins anew.

    Examples
    --------
    >>> from autokit.meta import Reptile
    >>> Reptile().n_adaptation_steps
    50
    """

    inner_steps: int = 5
    inner_learning_rate: float = 0.001
    adaptation_steps: int | None = 50
    inner_shots: int = 2

    optimizer: ClassVar[str] = "sgd"
    anneals: ClassVar[bool] = True
    outer_learning_rate: ClassVar[float] = 1.0
    meta_batch_size: ClassVar[int] = 5
    _parameter_constraints = {
        **InnerLoop._parameter_constraints,
        "inner_shots": InnerLoop._parameter_constraints["inner_steps"],
    }

    def inner_loop(self, view, objective, params, first_order):
        rule = adam(view.numbers["inner_learning_rate"], beta_1=0.0)
        return local_updates(objective, rule, first_order=first_order)

    def inner_places(self, layout, n_steps):
        """Rows in turn: the next `inner_shots` of each class, of support rows and queries."""
        n_rows = layout.k_shot + layout.n_query
        shots = np.arange(n_steps * self.inner_shots).reshape(n_steps, 1, -1) % n_rows
        way = np.arange(layout.n_way)[:, None]
        support = way * layout.k_shot + shots
        query = layout.n_support + way * layout.n_query + shots - layout.k_shot
        places = np.where(shots < layout.k_shot, support, query)
        return places.reshape(n_steps, -1).astype(np.int32)

    def meta_gradient(self, view, params, buffers, tasks):
        places = self.inner_places(view.layout, self.inner_steps)

        def towards(params, buffers, task):
            both = TensorBatch(
                tf.concat([task.support_x, task.query_x], axis=0),
                tf.concat([task.support_y, task.query_y], axis=0),
            )
            learnt, buffers = self.learn(view, params, buffers, both, places, True)
            # how well the task was learnt, for the history
            outputs, buffers = view.networks.by_rows(learnt, buffers, task.query_x)
            step = Step(view.loss(task.query_y, outputs), buffers, outputs)
            return step, [p - q for p, q in zip(params, learnt, strict=True)]

        return mean_over_tasks(towards)(params, buffers, tasks)
