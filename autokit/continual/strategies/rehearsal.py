"""What strategies with a memory share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sklearn.utils._param_validation import StrOptions

from autokit._backend import tf
from autokit.continual.memory import SELECTIONS
from autokit.continual.protocols import Strategy, TracedStep
from autokit.training import Objective, Step


@dataclass(kw_only=True, eq=False, repr=False)
class Rehearsal(Strategy):
    """Keeps rows of earlier experiences; as many as the batch has are drawn for each step.

    Parameters
    ----------
    select : {"balanced", "herding", "reservoir"}, default="balanced"
        What the memory keeps: as many rows of each class, those whose features together are
        nearest to their class's mean, or a uniform sample of all rows seen.
    """

    select: str = "balanced"

    uses_memory: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {"select": [StrOptions(set(SELECTIONS))]}

    @property
    def selection(self) -> str:
        return self.select

    def key(self) -> str:
        return type(self).__name__


def rehearsed(own: Objective, params, new: Step, step: TracedStep) -> Step:
    """An objective of the drawn memory rows, after that of the batch.

    Parameters
    ----------
    own : Objective
    params : list of tf.Tensor
    new : Step
        Of the batch: its buffers are those that the memory rows meet.
    step : TracedStep

    Returns
    -------
    Step
        Whose buffers are those of `new` as long as the memory is empty.
    """
    old = own(params, new.buffers, step.memory)
    pairs = zip(old.buffers, new.buffers, strict=True)
    return old._replace(buffers=[tf.where(step.has_memory > 0, o, n) for o, n in pairs])
