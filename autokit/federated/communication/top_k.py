"""Sparse updates."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit.federated.protocols import Communication, Packed


class TopKUpdates(Communication):
    """Only the numbers of an update that are largest by absolute value.

    Parameters
    ----------
    share : float in (0, 1], default=0.01
        Of the numbers that is sent, at least one; each takes 8 bytes, its place and its value.
    error_feedback : bool, default=True
        Whether a client adds what was left out to its next update.

    References
    ----------
    Stich, Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018, algorithm 1.
    """

    _parameter_constraints: ClassVar[dict] = {
        "share": [Interval(Real, 0, 1, closed="right")],
        "error_feedback": ["boolean"],
    }

    def __init__(self, share=0.01, error_feedback=True):
        self.share = share
        self.error_feedback = error_feedback

    def pack(self, update, rng):
        k = max(1, round(update.size * self.share))
        places = np.sort(np.argpartition(np.abs(update), -k)[-k:]).astype(np.uint32)
        return Packed({"places": places, "values": update[places].astype(np.float32)})

    def unpack(self, packed, size):
        update = np.zeros(size, np.float32)
        update[packed.arrays["places"]] = packed.arrays["values"]
        return update
