"""Training on everything seen so far: the upper bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autokit.continual.protocols import Strategy
from autokit.training import Batch


@dataclass(kw_only=True, eq=False, repr=False)
class Joint(Strategy):
    """Keep all rows, and train a fresh network on all of them each time: the upper bound.

    Memory and time grow with every experience.

    Examples
    --------
    >>> from autokit.continual import Joint
    >>> Joint().keeps_all
    True
    """

    uses_memory: ClassVar[bool] = True
    keeps_all: ClassVar[bool] = True
    starts_anew: ClassVar[bool] = True

    def batches(self, experience):
        batch, memory = experience.batch, experience.memory
        return Batch(np.concatenate([memory.x, batch.x]), np.concatenate([memory.y, batch.y]))
