"""Elastic weight consolidation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autokit.continual.protocols import Strategy
from autokit.training import quadratic_penalty


@dataclass(kw_only=True, eq=False, repr=False)
class EWC(Strategy):
    """Pull each weight to where it was, by how much the answers depend on it.

    ::

        loss' = loss + strength / 2 * sum_k sum_i F_ki (p_i - a_ki)^2

    Examples
    --------
    >>> from autokit.continual import EWC
    >>> EWC(strength=10.0).strength
    10.0
    """

    strength: float = 1000.0

    weak_without_task: ClassVar[bool] = True

    def key(self) -> str:
        return "EWC"

    def start(self, params, buffers):
        zeros = [np.zeros_like(p) for p in params]
        return {"weight": zeros, "anchor": zeros}

    def objective(self, objective, step):
        return quadratic_penalty(objective, step.state["anchor"], step.state["weight"])
