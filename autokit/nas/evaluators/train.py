"""Evaluation by training: the score is what a trained candidate reaches on validation rows."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autokit._backend import keras
from autokit.nas.hardware.costing import count
from autokit.nas.protocols import Budget, Evaluation
from autokit.training import Batch, FitConfig, FitResult, TrainingDiverged, fit, seeded
from autokit.training.state import assign


@dataclass(frozen=True)
class Task:
    """What candidates are trained for.

    Parameters
    ----------
    train, validation : Batch
        Encoded rows.
    input_shape : tuple of int
        Of one encoded row.
    n_outputs : int
    output_activation : str
        "softmax" for class probabilities, "linear" for numbers.
    loss : str
        A Keras name: "sparse_categorical_crossentropy" or "mean_squared_error".
    """

    train: Batch
    validation: Batch
    input_shape: tuple[int, ...]
    n_outputs: int
    output_activation: str
    loss: str

    def score(self, logs: dict) -> float:
        """Validation accuracy, or for numbers R2 over all outputs: higher is better.

        R2 is ``1 - sum((t - p)^2) / sum((t - mean(t))^2)`` of the encoded targets.
        """
        if "val_accuracy" in logs:
            return logs["val_accuracy"]
        return 1.0 - logs["val_loss"] / self._variance

    @property
    def _variance(self) -> float:
        targets, weight = self.validation.y, self.validation.weight
        mean = np.average(targets, axis=0, weights=weight)
        variance = float(np.average((targets - mean) ** 2, axis=0, weights=weight).mean())
        return variance if variance > 0 else 1.0


@dataclass
class TrainedModel:
    """A model and how it was trained."""

    model: keras.Model
    result: FitResult


@dataclass
class TrainEvaluator:
    """Train a candidate from scratch, score it on the validation rows after every epoch.

    Parameters
    ----------
    space : SearchSpace
    task : Task
    batch_size : int, default=64
    optimizer : str, default="adam"
    learning_rate : float, default=0.003
        The peak; a cosine takes it down to zero over the epochs.

    Attributes
    ----------
    kept : dict
        Weights and history of the best candidate so far, by architecture. Losers are dropped.
    """

    space: Any
    task: Task
    batch_size: int = 64
    optimizer: Any = "adam"
    learning_rate: float = 3e-3
    kept: dict = field(default_factory=dict, repr=False)
    _rank: tuple = (False, -math.inf, -math.inf)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def __call__(self, architecture, budget: Budget) -> Evaluation:
        """Train within the budget.

        Raises
        ------
        TrainingDiverged
            A loss stopped being finite.
        """
        rungs, clock = [], [time.monotonic()]

        def on_epoch(epoch, logs):
            score = self.task.score(logs)
            rungs.append((epoch, score))
            clock.append(time.monotonic())
            if not math.isfinite(score):
                raise TrainingDiverged(f"the validation loss is {logs['val_loss']}")
            return budget.keep_on is not None and not budget.keep_on(epoch, score)

        trained = self.train(
            architecture, self.task.train, self.task.validation, budget, on_epoch=on_epoch
        )
        result, costs = trained.result, count(trained.model)
        status = {"deadline": "timeout", "callback": "pruned"}.get(result.stopped, "complete")
        evaluation = Evaluation(
            number=-1,
            architecture=architecture,
            score=rungs[-1][1],
            loss=result.history["val_loss"][-1],
            status=status,
            epochs=result.epochs,
            seconds=time.monotonic() - clock[0],
            n_params=costs.n_params,
            flops=costs.flops,
            memory_bytes=costs.memory_bytes,
            rungs=tuple(rungs),
            setup_seconds=_setup_seconds(clock),
        )
        self._keep(evaluation, result)
        return evaluation

    def build(self, architecture, seed: int) -> keras.Model:
        """The untrained model of an architecture."""
        task = self.task
        with seeded(seed):
            return self.space.build(
                architecture, task.input_shape, task.n_outputs, task.output_activation
            )

    def train(self, architecture, train, validation, budget: Budget, on_epoch=None):
        """Build and train one architecture.

        Returns
        -------
        TrainedModel
        """
        model = self.build(architecture, budget.seed)
        config = FitConfig(
            epochs=budget.epochs,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            schedule="cosine",
            loss=self.task.loss,
        )
        result = fit(
            model,
            train,
            validation,
            config=config,
            seed=budget.seed,
            deadline=budget.deadline,
            on_epoch=on_epoch,
        )
        return TrainedModel(model, result)

    def restore(self, architecture, seed: int) -> TrainedModel | None:
        """The candidate as its trial left it, None if its weights were not kept."""
        result = self.kept.get(architecture)
        if result is None:
            return None
        model = self.build(architecture, seed)
        assign(model.variables, result.weights)
        return TrainedModel(model, result)

    def _keep(self, evaluation, result) -> None:
        with self._lock:
            if evaluation.rank > self._rank:
                self._rank = evaluation.rank
                self.kept.clear()
            if evaluation.rank == self._rank:
                self.kept[evaluation.architecture] = result


def _setup_seconds(clock: list[float]) -> float:
    """What the first epoch took longer than the others."""
    epochs = np.diff(clock)
    if len(epochs) < 2:
        return 0.0
    return float(max(0.0, epochs[0] - epochs[1:].mean()))
