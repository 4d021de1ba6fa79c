"""Federated averaging with Yogi on the server."""

from __future__ import annotations

from typing import ClassVar

from autokit.federated.algorithms.fedadam import FedAdam


class FedYogi(FedAdam):
    """Federated averaging with Yogi on the server.

    ::

        g = -mean delta
        m = beta_1 * m + (1 - beta_1) * g
        v = v - (1 - beta_2) * g^2 * sign(v - g^2)
        w = w - learning_rate * m / (sqrt(v) + epsilon)

    without bias correction; `v` starts at ``epsilon^2``.

    Parameters
    ----------
    learning_rate : float, default=0.01
        Of the server. The paper tunes it between 0.001 and 10.
    beta_1, beta_2 : float in [0, 1), default=0.9, 0.99
    epsilon : float, default=0.001
        The paper's tau: how much the step adapts.
    weighted : bool, default=True
        Whether a client counts by its rows; otherwise all count alike.

    References
    ----------
    Reddi et al., "Adaptive Federated Optimization", ICLR 2021, algorithm 2.
    """

    _rule: ClassVar[str] = "fed_yogi"
