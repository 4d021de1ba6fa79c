"""Counted costs of architectures that were not built, where that leaves no doubt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autokit.nas.hardware.regression import Features, gaussian_process

FIRST_FIT, GROWTH = 30, 1.5
MAX_ROWS = 300
DEVIATIONS = 1.5


class CountEstimate:
    """Tells from what was counted which architectures surely are within limits, or beyond.

    To build a network takes tens of milliseconds, and a strategy may look at hundreds before it
    proposes one. A Gaussian process from codes to logarithms of costs answers for most of them;
    its error is what two halves of the rows say of each other. Nearer to a limit than one and
    a half times that, it does not answer.

    Parameters
    ----------
    space : SearchSpace
    limits : mapping of str to number
        By the name of the cost, a field of `Costs`.
    """

    def __init__(self, space: Any, limits: Mapping[str, float]):
        self.space, self._names = space, tuple(limits)
        self._limits = np.log(np.array(list(limits.values()), float))
        self._rows: list[np.ndarray] = []
        self._logs: list[np.ndarray] = []
        self._models: list[dict[str, np.ndarray]] = []
        self._margins = np.empty(0)
        self._next_fit = FIRST_FIT

    def add(self, architecture: Any, costs: Any) -> None:
        """Take note of what a network that was built costs."""
        values = [getattr(costs, name) for name in self._names]
        if any(value is None for value in values):
            return
        self._rows.append(np.asarray(self.space.encode(architecture), float))
        self._logs.append(np.log(np.maximum(np.array(values, float), 1.0)))
        if len(self._rows) >= self._next_fit:
            self._next_fit = int(GROWTH * len(self._rows))
            self._fit()

    def violation(self, architecture: Any) -> float | None:
        """Sum of the relative excesses, 0 if all limits surely hold; None where there is doubt."""
        if not self._models:
            return None
        rows = _features(np.asarray(self.space.encode(architecture), float)[None])
        logs = np.array([gaussian_process.answer(model, rows)[0] for model in self._models])
        excess = logs - self._limits
        if (excess + self._margins <= 0).all():
            return 0.0
        if (excess - self._margins > 0).any():
            return float(np.sum(np.maximum(0.0, np.expm1(np.minimum(excess, 50.0)))))
        return None

    def _fit(self) -> None:
        rows = np.array(self._rows[-MAX_ROWS:])
        logs = np.array(self._logs[-MAX_ROWS:])
        self._models, margins = [], []
        halves = [slice(0, None, 2), slice(1, None, 2)]
        for column in logs.T:
            wrong = []
            for mine, its in (halves, halves[::-1]):
                half = gaussian_process.learn(_features(rows[mine]), column[mine])
                wrong.append(gaussian_process.answer(half, _features(rows[its])) - column[its])
            margins.append(DEVIATIONS * np.sqrt(np.mean(np.concatenate(wrong) ** 2)))
            self._models.append(gaussian_process.learn(_features(rows), column))
        self._margins = np.array(margins)


def _features(codes: np.ndarray) -> Features:
    return Features(codes, codes[:, :0], codes[:, :0])
