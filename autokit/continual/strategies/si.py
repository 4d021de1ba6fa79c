"""Synaptic intelligence."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit.continual.protocols import Strategy
from autokit.training import quadratic_penalty


@dataclass(kw_only=True, eq=False, repr=False)
class SI(Strategy):
    """Pull each weight to where it was, by how much it did for the loss on its way there.

    ::

        loss'   = loss + strength * sum_i W_i (p_i - a_i)^2
        path_i  = sum_steps -(d loss / d p_i) * (change of p_i)     within an experience
        W_i    <- W_i + max(path_i, 0) / ((p_i - a_i)^2 + damping)  after it; then a <- p

    The importance is a by-product of training: no pass over the rows afterwards.

    Parameters
    ----------
    strength : float, default=100.0
        The paper's c. The default is the power of ten that kept most of split digits, with a
        shared head and with a head a task.
    damping : float, default=0.1
        The paper's xi: bounds the importance of weights that hardly moved.

    References
    ----------
    Zenke, Poole, Ganguli, "Continual learning through synaptic intelligence", 2017, equations 3
    to 5. The path is of the loss without the penalty. Weights whose path raised the loss get no
    importance; the paper leaves that case open, and a negative one would push away.

    Examples
    --------
    >>> from autokit.continual import SI
    >>> SI(damping=0.01).damping
    0.01
    """

    strength: float = 100.0
    damping: float = 0.1

    weak_without_task: ClassVar[bool] = True
    running: ClassVar[tuple[str, ...]] = ("last", "path", "slope")
    _parameter_constraints: ClassVar[dict] = {
        "strength": [Interval(Real, 0, None, closed="left")],
        "damping": [Interval(Real, 0, None, closed="neither")],
    }

    def key(self) -> str:
        return "SI"

    def start(self, params, buffers):
        return {"anchor": _zeros(params), "weight": _zeros(params)}

    def before(self, experience):
        params = experience.before.params
        running = {"last": list(params), "path": _zeros(params), "slope": _zeros(params)}
        return experience.state | running

    def objective(self, objective, step):
        return quadratic_penalty(objective, step.state["anchor"], step.state["weight"])

    def gradients(self, gradients, params, buffers, batch, step):
        state = step.state
        parts = zip(gradients, params, state["anchor"], state["weight"], strict=True)
        # a step's change is known at the next one
        return gradients, {
            "last": list(params),
            "path": _further(state, params),
            "slope": [g - 2.0 * w * (p - a) for g, p, a, w in parts],
        }

    def after(self, experience):
        state, learnt = experience.state, experience.learnt.params
        weight = []
        for path, old, new, was in zip(
            _further(state, learnt), experience.before.params, learnt, state["weight"], strict=True
        ):
            found = np.maximum(path, 0) / ((new - old) ** 2 + np.float32(self.damping))
            weight.append(was + np.float32(self.strength) * found)
        return {"anchor": list(learnt), "weight": weight}


def _zeros(params) -> list:
    return [np.zeros_like(p) for p in params]


def _further(state, params) -> list:
    """The path with the step that led to these parameters."""
    parts = zip(state["path"], state["slope"], params, state["last"], strict=True)
    return [path - slope * (p - last) for path, slope, p, last in parts]
