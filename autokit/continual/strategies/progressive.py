"""Progressive networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autokit._backend import keras
from autokit.continual.columns import heads_of, n_params, with_columns
from autokit.continual.protocols import Strategy


@dataclass(kw_only=True, eq=False, repr=False)
class Progressive(Strategy):
    """A new column of layers for each task, which also hears the hidden layers of all before.

    ::

        h_i^k = f(W_i^k h_(i-1)^k + sum_(j < k) U_i^(k:j) h_(i-1)^j)      layer i of column k

    Earlier columns are frozen, so nothing is ever forgotten: their answers stay the same bit for
    bit. The price is growth: parameters grow with the square of the number of tasks.

    Each column is a fresh copy of the first network. The lateral weights U are of the layer's own
    kind and start at zero: for a convolution, kernels of its size. Dense and convolution layers of
    any functional model are connected, one with branches too; other layers are left without a
    lateral connection, and so are those that see the input alone, are called twice, or have
    groups. Frozen columns draw nothing at random: no dropout, and batch normalisation by its
    statistics.

    Every scenario has a column for each task. Without the task at predict the most confident
    column answers, which was trained on its own classes alone and is often wrong.

    References
    ----------
    Rusu et al., "Progressive Neural Networks", 2016, equation 1. The adapters of equation 2,
    hidden layers of their own with a learnt scale and convolutions of size 1, are not used.

    Examples
    --------
    >>> from autokit.continual import Progressive
    >>> Progressive().task_heads
    True
    """

    task_heads: ClassVar[bool] = True
    pads_head: ClassVar[bool] = False

    def key(self) -> str:
        return "Progressive"

    def before(self, experience):
        self._check_last(experience.group, len(heads_of(experience.network)))
        return experience.state

    def grow(self, network, state, growth):
        n_before = len(heads_of(network))
        self._check_last(growth.group, n_before)
        return with_columns(network, np.bincount(growth.groups), growth.places, growth.seed)

    @staticmethod
    def n_params(network: keras.Model) -> np.ndarray:
        """Parameters of each column, lateral ones included.

        Parameters
        ----------
        network : keras.Model
            A continual model's ``model_``.

        Returns
        -------
        np.ndarray of int64, shape (n_columns,)
        """
        return n_params(network)

    @staticmethod
    def _check_last(group: int, n_columns: int) -> None:
        if group < n_columns - 1:
            raise ValueError(
                f"Progressive froze column {group} when the next task came, and it cannot learn "
                "more rows of its task; give them a task of their own, for a new column."
            )
