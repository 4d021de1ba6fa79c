"""Memory-aware synapses."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit._backend import tf
from autokit.continual.importance import importance, own_units
from autokit.continual.protocols import Strategy
from autokit.training import quadratic_penalty


@dataclass(kw_only=True, eq=False, repr=False)
class MAS(Strategy):
    """Pull each weight to where it was, by how far it moves the outputs.

    ::

        loss'  = loss + strength * sum_i W_i (p_i - a_i)^2
        W_i   <- W_i + mean_b |d ||f(x_b)||^2 / d p_i|      after an experience; then a <- p

    The importance needs no labels. f are the raw outputs of the row's own head.

    Parameters
    ----------
    strength : float, default=0.1
        The paper's lambda. The default is the power of ten that kept most of split digits, with
        a shared head and with a head a task.
    n_rows : int, default=None
        Rows of an experience that the importance is measured on, drawn at random; None takes
        2,000 at most.

    References
    ----------
    Aljundi et al., "Memory aware synapses: learning what (not) to forget", 2018, equations 2, 3
    and 5, row by row: the absolute value of each row's gradient, not of their mean.

    Examples
    --------
    >>> from autokit.continual import MAS
    >>> MAS(n_rows=500).n_rows
    500
    """

    strength: float = 0.1
    n_rows: int | None = None

    weak_without_task: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {
        "strength": [Interval(Real, 0, None, closed="left")],
        "n_rows": [None, Interval(Integral, 1, None, closed="left")],
    }

    def key(self) -> str:
        return "MAS"

    def start(self, params, buffers):
        return {
            "anchor": [np.zeros_like(p) for p in params],
            "weight": [np.zeros_like(p) for p in params],
        }

    def objective(self, objective, step):
        return quadratic_penalty(objective, step.state["anchor"], step.state["weight"])

    def after(self, experience):
        found = importance(experience, "squared outputs", _slope, tf.abs, self.n_rows)
        parts = zip(experience.state["weight"], found, strict=True)
        weight = [was + np.float32(self.strength) * new for was, new in parts]
        return {"anchor": list(experience.learnt.params), "weight": weight}


def _slope(outputs, y, step, seed):
    """The slope of the squared norm of a row's own outputs."""
    return tf.where(own_units(step, y), 2.0 * outputs, 0.0)
