"""Meta-SGD: a learnt rate for each weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autokit.meta.methods.inner import InnerLoop


@dataclass(kw_only=True, eq=False, repr=False)
class MetaSGD(InnerLoop):
    """MAML that learns the rate of every weight along with the weights.

    ::

        p_t = p - a * grad L_support(p)                           # a has p's shape
        (p, a) <- Adam((p, a), mean_t grad_{p, a} L_query(p_t))

    Rates may become negative: they are directions, not only sizes.

    Parameters
    ----------
    inner_steps : int, default=1
    inner_learning_rate : float, default=0.1
        Where all rates begin.
    adaptation_steps : int or None, default=None
        As of `MAML`.

    References
    ----------
    Li, Zhou, Chen, Li, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", 2017,
    algorithm 1. They draw the first rates at random from [0.005, 0.1].

    Examples
    --------
    >>> from autokit.layers import mlp
    >>> from autokit.meta import MetaSGD
    >>> MetaSGD().extras(mlp((2,), 3, widths=()), seed=0)[0].shape
    (2, 3)
    """

    inner_learning_rate: float = 0.1

    numbers: ClassVar[tuple[str, ...]] = ()

    def extras(self, network, seed):
        shapes = [variable.shape for variable in network.trainable_variables]
        return [np.full(shape, self.inner_learning_rate, np.float32) for shape in shapes]

    def inner_rates(self, view, params):
        return params[view.n_params :]

    def key(self):
        return f"MetaSGD {self.inner_steps} {self.adaptation_steps}"
