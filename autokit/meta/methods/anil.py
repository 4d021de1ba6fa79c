"""Almost no inner loop."""

from __future__ import annotations

from dataclasses import dataclass

from autokit.meta.methods.inner import N_HEAD
from autokit.meta.methods.maml import MAML


@dataclass(kw_only=True, eq=False, repr=False)
class ANIL(MAML):
    """MAML that adapts the last layer only: the body learns features for all tasks.

    Parameters
    ----------
    inner_steps, inner_learning_rate, adaptation_steps, first_order
        As of `MAML`.

    References
    ----------
    Raghu, Raghu, Bengio, Vinyals, "Rapid Learning or Feature Reuse? Towards Understanding the
    Effectiveness of MAML", 2020, section 4.

    Examples
    --------
    >>> from autokit.meta import ANIL
    >>> ANIL().n_fixed(10)
    8
    """

    def n_fixed(self, n_params):
        return n_params - N_HEAD
