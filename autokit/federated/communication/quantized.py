"""Updates of a few bits a number."""

from __future__ import annotations

from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, Options

from autokit.federated.protocols import Communication, Packed

_WIDTHS = (1, 2, 4, 8, 16)


class QuantizedUpdates(Communication):
    """Each number as a whole multiple of a step, rounded at random so that its mean is right.

    ::

        step = (max - min) / (2^bits - 1)                  of each block of numbers
        code = floor((number - min) / step + u),  u uniform in [0, 1)

    Parameters
    ----------
    bits : {1, 2, 4, 8, 16}, default=8
        Of a number: 8 sends a quarter of float32's bytes.
    block_size : int, default=1024
        Numbers that share a minimum and a step, which take 8 bytes.
    error_feedback : bool, default=True
        Whether a client adds what rounding lost to its next update.

    References
    ----------
    Konecny et al., "Federated Learning: Strategies for Improving Communication Efficiency", 2016,
    section 3; error feedback: Seide et al., "1-Bit Stochastic Gradient Descent", 2014.
    """

    _parameter_constraints: ClassVar[dict] = {
        "bits": [Options(Integral, set(_WIDTHS))],
        "block_size": [Interval(Integral, 1, None, closed="left")],
        "error_feedback": ["boolean"],
    }

    def __init__(self, bits=8, block_size=1024, error_feedback=True):
        self.bits = bits
        self.block_size = block_size
        self.error_feedback = error_feedback

    def pack(self, update, rng):
        blocks, n_blocks = self._blocks(update)
        low, high = blocks.min(axis=1), blocks.max(axis=1)
        levels = 2**self.bits - 1
        step = ((high - low) / levels).astype(np.float32)
        scaled = (blocks - low[:, None]) / np.where(step > 0, step, 1)[:, None]
        codes = np.floor(scaled + rng.random(scaled.shape, dtype=np.float32))
        codes = np.clip(codes, 0, levels).astype(np.uint16).ravel()[: update.size]
        return Packed({"codes": _squeezed(codes, self.bits), "low": low, "step": step})

    def unpack(self, packed, size):
        codes = _spread(packed.arrays["codes"], self.bits, size).astype(np.float32)
        low = np.repeat(packed.arrays["low"], self.block_size)[:size]
        step = np.repeat(packed.arrays["step"], self.block_size)[:size]
        return low + step * codes

    def _blocks(self, update):
        n_blocks = -(-update.size // self.block_size)
        # the last value is repeated: it changes neither minimum nor maximum of its block
        padded = np.pad(update.astype(np.float32), (0, n_blocks * self.block_size - update.size),
                        mode="edge")  # fmt: skip
        return padded.reshape(n_blocks, self.block_size), n_blocks


def _squeezed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes of so many bits, side by side in bytes."""
    if bits == 16:
        return codes
    if bits == 8:
        return codes.astype(np.uint8)
    per_byte = 8 // bits
    codes = np.pad(codes.astype(np.uint8), (0, -codes.size % per_byte)).reshape(-1, per_byte)
    shifts = (np.arange(per_byte) * bits).astype(np.uint8)
    return np.bitwise_or.reduce(codes << shifts, axis=1).astype(np.uint8)


def _spread(codes: np.ndarray, bits: int, size: int) -> np.ndarray:
    if bits >= 8:
        return codes
    shifts = (np.arange(8 // bits) * bits).astype(np.uint8)
    mask = np.uint8(2**bits - 1)
    return ((codes[:, None] >> shifts) & mask).ravel()[:size]
