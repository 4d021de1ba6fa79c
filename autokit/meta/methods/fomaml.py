"""First-order MAML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from autokit.meta.methods.inner import InnerLoop


@dataclass(kw_only=True, eq=False, repr=False)
class FOMAML(InnerLoop):
    """MAML without second derivatives.

    ::

        p_t = p - inner_learning_rate * grad L_support(p)         # inner_steps times
        p <- Adam(p, mean_t (grad L_query)(p_t))                  # taken at p_t

    Parameters
    ----------
    inner_steps, inner_learning_rate, adaptation_steps
        As of `MAML`.

    References
    ----------
    Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    2017, section 5.2.

    Examples
    --------
    >>> from autokit.meta import FOMAML
    >>> FOMAML(inner_steps=5).n_adaptation_steps
    5
    """

    first_order: ClassVar[bool] = True
