"""Evaluation by shared weights: one supernet is trained, and judges every architecture."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autokit._backend import tf
from autokit.nas.evaluators.train import Task
from autokit.nas.protocols import Budget, Evaluation


@dataclass
class SharedWeights:
    """Score an architecture by the weights that a supernet trained for all of them.

    At the first evaluation, the supernet is trained on the training rows, each step on a path
    drawn uniformly from the space (``space.sample``). Then an architecture costs one pass over
    the validation rows. Batch normalisation uses the statistics of each batch of some 256
    validation rows, so nothing has to be recalibrated for an architecture.

    Scores of shared weights rank architectures; they are not what an architecture reaches when
    it is trained on its own.

    Parameters
    ----------
    space : SearchSpace
        With a method ``supernet``.
    task : Task
    epochs : int, default=50
        Of the supernet, each as many passes over the rows as an edge has operations.
    batch_size : int, default=64
    seed : int, default=0
        Of the supernet's weights, paths and row order; the budgets' seeds do not matter, so that
        the order of evaluations does not either.
    weights : WeightSettings or None, default=None

    References
    ----------
    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV
    2020, section 3.2. There, statistics are recalibrated on training rows.
    """

    space: Any
    task: Task
    epochs: int = 50
    batch_size: int = 64
    seed: int = 0
    weights: Any = None
    _shared: Any = field(default=None, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def __call__(self, architecture, budget: Budget) -> Evaluation:
        """Score by the shared weights; the first call trains them, until the deadline at most.

        Raises
        ------
        ValueError
            The space has no supernet.
        TrainingDiverged
            The supernet's loss stopped being finite.
        """
        started = time.monotonic()
        with self._lock:
            if self._shared is None:
                self._shared = self._train(budget.deadline)
            setup = time.monotonic() - started
            score, loss = self._shared.score(self.task, self._validation, architecture)
        return Evaluation(
            number=-1,
            architecture=architecture,
            score=score,
            loss=loss,
            status="complete",
            seconds=time.monotonic() - started,
            setup_seconds=setup,
            seed=self.seed,
        )

    def _train(self, deadline):
        from autokit.nas.oneshot.epochs import EpochClock, rate_at, row_order, shuffled_tensors
        from autokit.nas.oneshot.single_path import SharedWeightsTraining, WeightSettings
        from autokit.nas.oneshot.supernet import make_supernet
        from autokit.training.objectives import make_loss

        supernet = make_supernet(self.space, self.task, self.seed)
        rates = self.weights or WeightSettings()
        shared = SharedWeightsTraining(supernet, make_loss(self.task.loss), rates)
        rng = np.random.default_rng(self.seed)
        tensors = shuffled_tensors(self.task.train, self.seed)
        self._validation = shuffled_tensors(self.task.validation, self.seed)
        n_rows = len(self.task.train)
        n_steps = supernet.n_operations * max(1, n_rows // self.batch_size)
        size = tf.constant(self.batch_size)
        clock = EpochClock(deadline, self.epochs, retrain_epochs=0)
        for epoch in clock.each():
            rate = rate_at(epoch, self.epochs, rates.learning_rate, rates.final_rate)
            order = row_order(n_rows, n_steps * self.batch_size, rng)
            paths = tf.constant(
                np.stack([supernet.choices(self.space.sample(rng)) for _ in range(n_steps)])
            )
            fixed = (size, tf.constant(rate))
            clock.run(
                n_steps,
                lambda a, b, o=order, p=paths, f=fixed: shared.steps(tensors, o, p, a, b, *f),
            )
        return shared
