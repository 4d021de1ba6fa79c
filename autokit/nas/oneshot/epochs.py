"""What the epochs of all one-shot methods share: rows, order, rate and clock."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from autokit._backend import tf
from autokit.training import Batch, TrainingDiverged, cosine, split

logger = logging.getLogger(__name__)

CALL_S = 0.5  # seconds of one compiled call under a deadline
RESERVED_SHARE = 0.5  # of the time, at most, is kept for the training of what was found
TRACING_SHARE = 0.5  # of the supernet's first epoch, which traces it: so do the choice, one path


def shuffled_tensors(data: Batch, seed: int) -> tuple:
    """The rows on the device, in an order of their own."""
    order = np.random.default_rng(seed).permutation(len(data))
    parts = (data.x, data.y, data.weight)
    return tuple(tf.constant(part[order]) for part in parts if part is not None)


def shuffled_halves(task, seed: int) -> tuple:
    """The training rows of a task as two halves on the device: of the weights, of the choice."""
    halves = split(task.train, 0.5, seed, stratify=task.output_activation == "softmax")
    return tuple(shuffled_tensors(half, seed) for half in halves)


def row_order(n_rows: int, n_wanted: int, rng: np.random.Generator) -> tf.Tensor:
    """Row numbers in random order, as many as wanted: all of them before any comes again."""
    rounds = -(-n_wanted // n_rows)
    return tf.constant(
        np.concatenate([rng.permutation(n_rows) for _ in range(rounds)])[:n_wanted], tf.int32
    )


def rate_at(epoch: int, epochs: int, first: float, last: float) -> float:
    """A cosine from `first` towards `last`."""
    return last + (first - last) * cosine(epoch / epochs)


class EpochClock:
    """Steps in compiled calls that end in time.

    Parameters
    ----------
    deadline : float or None
        ``time.monotonic()`` second at which everything must be over.
    epochs : int
        Of the supernet.
    retrain_epochs : int
        Of what is found.
    """

    def __init__(self, deadline: float | None, epochs: int, retrain_epochs: int):
        self.started = time.monotonic()
        self.deadline, self.epochs, self.retrain_epochs = deadline, epochs, retrain_epochs
        self.pace = 1  # steps of one call under a deadline
        self.fastest = math.inf  # seconds of an epoch, the first one's tracing left out
        self.first = 0.0  # seconds of the first
        self.is_late = False

    def each(self) -> Iterator[int]:
        """The epochs, until there is only time enough to train what they find."""
        for epoch in range(self.epochs):
            before = time.monotonic()
            yield epoch
            seconds = time.monotonic() - before
            self.fastest, self.first = min(self.fastest, seconds), self.first or seconds
            if self.is_late or self._left() < 0:
                self.is_late = epoch + 1 < self.epochs or self.is_late
                if epoch + 1 < 0.5 * self.epochs:
                    logger.warning(
                        "the time budget ended the supernet after %d of %d epochs, %.0f s of them "
                        "its tracing; give it more time, or a smaller space",
                        epoch + 1,
                        self.epochs,
                        self.first - self.fastest if epoch else self.first,
                    )
                return

    def _left(self) -> float:
        """Seconds before the retraining has to begin."""
        if self.deadline is None:
            return math.inf
        whole = self.deadline - self.started
        # one path costs less than the supernet, on twice the rows of an epoch
        needed = TRACING_SHARE * self.first
        needed += self.retrain_epochs * (self.fastest if math.isfinite(self.fastest) else 0.0)
        reserve = min(RESERVED_SHARE * whole, max(needed, 0.25 * whole))
        return self.deadline - time.monotonic() - reserve

    def run(self, n_steps: int, call: Callable) -> list[float]:
        """Run ``call(start, stop)`` over the steps; the mean of what it sums.

        Raises
        ------
        TrainingDiverged
            A loss stopped being finite.
        """
        totals, step = 0.0, 0
        while step < n_steps:
            stop = n_steps if self.deadline is None else min(n_steps, step + self.pace)
            before = time.monotonic()
            sums = call(tf.constant(step), tf.constant(stop))
            totals = totals + np.array([float(s) for s in tf.nest.flatten(sums)])
            if not np.isfinite(totals).all():
                raise TrainingDiverged(
                    "The supernet's loss stopped being finite; lower the learning_rate, or look "
                    "for extreme values in X or y."
                )
            if self.deadline is not None:
                seconds = max(time.monotonic() - before, 1e-6)
                self.pace = max(1, min(int((stop - step) * CALL_S / seconds), 8 * self.pace))
            step = stop
            if self._left() < 0:
                self.is_late = True
                break
        return list(totals / max(1, step))

    def stopped(self, evaluation) -> str:
        """Why the search ended, for its result."""
        late = self.is_late or evaluation.status == "timeout"
        return "time_budget" if late else "epochs"
