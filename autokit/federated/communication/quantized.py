"""Updates of a few bits a number."""

from __future__ import annotations

from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, Options

from autokit.federated.protocols import Communication, Packed

_WIDTHS = (1, 2, 4, 8, 16)


class QuantizedUpdates(Communication):
    """Each number as a whole multiple of a step.

    ::

        step = (max - min) / (2^bits - 1)                  of each block of numbers
        code = floor((number - min) / step + u)

    Without error feedback `u` is uniform in [0, 1), so that the mean is right. With it ``u = 1/2``,
    the nearest code: feedback needs an error that is smaller than the number, which rounding at
    random is not where bits are few, and residuals would grow without end. For that reason too,
    a single bit with feedback stands for the mean of the numbers above their mean, or of those
    below.

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
    section 3; error feedback: Seide et al., "1-Bit Stochastic Gradient Descent", 2014, section 3;
    why it needs a contraction: Karimireddy et al., "Error Feedback Fixes SignSGD", ICML 2019.
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
        if self.bits == 1 and self.error_feedback:
            codes, low, step = self._halves(update)
        else:
            blocks = self._blocks(update)
            low, high = blocks.min(axis=1), blocks.max(axis=1)
            levels = 2**self.bits - 1
            step = ((high - low) / levels).astype(np.float32)
            scaled = (blocks - low[:, None]) / np.where(step > 0, step, 1)[:, None]
            shift = 0.5 if self.error_feedback else rng.random(scaled.shape, dtype=np.float32)
            codes = np.clip(np.floor(scaled + shift), 0, levels)
        codes = codes.astype(np.uint16).ravel()[: update.size]
        return Packed({"codes": _squeezed(codes, self.bits), "low": low, "step": step})

    def unpack(self, packed, size):
        codes = _spread(packed.arrays["codes"], self.bits, size).astype(np.float32)
        low = np.repeat(packed.arrays["low"], self.block_size)[:size]
        step = np.repeat(packed.arrays["step"], self.block_size)[:size]
        return low + step * codes

    def _blocks(self, update):
        n_blocks = -(-update.size // self.block_size)
        # the last value is repeated: it changes neither minimum nor maximum of its block
        missing = n_blocks * self.block_size - update.size
        padded = np.pad(update.astype(np.float32), (0, missing), mode="edge")
        return padded.reshape(n_blocks, self.block_size)

    def _halves(self, update):
        blocks = self._blocks(update)
        is_there = (np.arange(blocks.size) < update.size).reshape(blocks.shape)
        above = blocks > blocks.mean(axis=1, where=is_there, keepdims=True)
        means = []
        for half in (is_there & ~above, is_there & above):
            count = np.maximum(half.sum(axis=1), 1)
            means.append((np.sum(blocks, axis=1, where=half) / count).astype(np.float32))
        # numbers that are all alike have none above their mean
        step = np.where(above.any(axis=1, where=is_there), means[1] - means[0], np.float32(0))
        return above, means[0], step


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
