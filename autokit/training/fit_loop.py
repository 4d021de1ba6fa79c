"""The fit loop: whole epochs in one compiled call, with Keras callbacks around them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.training.batches import DEVICE_BYTES, Batch
from autokit.training.constraints import Constraints
from autokit.training.objectives import TensorBatch, make_loss
from autokit.training.orders import ORDERS
from autokit.training.programs import Program, borrowed, has_schedule
from autokit.training.progress import EpochProgress
from autokit.training.regime import Regime, descent
from autokit.training.state import assign
from autokit.training.watching import Checkpoint, current_watch

# How long one compiled call may run when a deadline is set: bounds the overshoot.
SLICE_S = 0.2


class TrainingDiverged(FloatingPointError):
    """The loss stopped being a finite number."""


@dataclass(frozen=True)
class FitConfig:
    """How a model is trained.

    Parameters
    ----------
    epochs : int, default=30
    batch_size : int, default=32
    optimizer : str or keras.optimizers.Optimizer, default="adam"
        An instance is copied, with its clipping, weight decay and schedule.
    learning_rate : float, keras LearningRateSchedule or None, default=None
        None keeps the optimizer's own.
    schedule : callable, "cosine" or None, default=None
        Factor on the learning rate by the share of training done, in [0, 1]; "cosine" falls from
        1 to 0. Set once an epoch; an optimizer with a schedule of its own keeps to that.
    loss : str or keras.losses.Loss, default="mean_squared_error"
    early_stopping : int or None, default=None
        Epochs without a better validation loss (training loss if there is no validation) after
        which training stops; the best epoch's weights are restored.
    """

    epochs: int = 30
    batch_size: int = 32
    optimizer: Any = "adam"
    learning_rate: Any = None
    schedule: Any = None
    loss: Any = "mean_squared_error"
    early_stopping: int | None = None


@dataclass
class FitResult:
    """What a fit leaves.

    Attributes
    ----------
    weights : list of np.ndarray
        In the order of ``model.variables``: the last epoch's, or with early stopping the best's.
    history : dict of list of float
        A value per epoch of loss, accuracy, val_loss, val_accuracy.
    epochs : int
        Epochs begun.
    best_epoch : int
        The epoch, counted from 1, that `weights` are from.
    stopped : {"epochs", "early_stopping", "deadline", "callback"}
    seconds : float
        Wall time, tracing included.
    optimizer_state : list of np.ndarray
        To go on later where this fit ended.
    running : nest of np.ndarray
        What the steps of a regime have changed.
    """

    weights: list[np.ndarray]
    history: dict[str, list[float]] = field(default_factory=dict)
    epochs: int = 0
    best_epoch: int = 0
    stopped: str = "epochs"
    seconds: float = 0.0
    optimizer_state: list[np.ndarray] = field(default_factory=list)
    running: Any = field(default_factory=dict)


def fit(
    model: keras.Model,
    train: Batch,
    validation: Batch | None = None,
    *,
    config: FitConfig,
    seed: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    deadline: float | None = None,
    on_epoch: Callable[[int, dict], bool] | None = None,
    optimizer_state: list[np.ndarray] | None = None,
    constraints: Constraints | None = None,
    regime: Regime | None = None,
) -> FitResult:
    """Train a model and write the result into it.

    Parameters
    ----------
    model : keras.Model
        A built model; training starts from its weights.
    train, validation : Batch
    config : FitConfig
    seed : int, default=0
        Order of the rows in each epoch.
    callbacks : sequence of keras.callbacks.Callback
        Called as by ``Model.fit``; one that overrides a batch hook costs a compiled call a step.
    deadline : float or None
        ``time.monotonic()`` second after which training stops, in the middle of an epoch if need
        be, with the weights it has.
    on_epoch : callable or None
        ``(epoch, logs) -> bool``, epochs counted from 1; True stops.
    optimizer_state : list of np.ndarray or None
        From an earlier result, to continue it.
    constraints : Constraints or None
        Structures that variables are brought back to after each step.
    regime : Regime or None
        How the gradient of a step is made; None descends on the loss.

    Returns
    -------
    FitResult

    Raises
    ------
    TrainingDiverged
        The loss became NaN or infinite; `model` keeps the weights it had.
    """
    started = time.monotonic()
    watch = current_watch()
    if watch is not None and watch.deadline is not None:
        deadline = min(watch.deadline, math.inf if deadline is None else deadline)
    loss = make_loss(config.loss)
    optimizer = make_optimizer(config)
    with borrowed(model, optimizer, loss, optimizer_state, constraints, regime) as program:
        run = _Run(program, train, validation, config, seed, deadline, on_epoch, regime)
        if watch is not None:
            run.watch = lambda epoch, logs: watch.epoch(model, program, epoch, logs)
        continues = watch is not None and _depends_on_the_past_alone(run, callbacks)
        if continues:
            run.resume(watch.resume(model, config.epochs))
        result = run.execute(callbacks)
        if continues and result.stopped == "epochs":
            watch.keep(model, lambda: run.checkpoint(result))
        result.optimizer_state = program.optimizer_state()
        result.running = program.running()
    assign(model.variables, result.weights)
    return replace(result, seconds=time.monotonic() - started)


def _depends_on_the_past_alone(run: _Run, callbacks: Sequence) -> bool:
    """Whether epochs are the same however many follow, so that a training may be continued."""
    config, program = run.config, run.program
    return not (
        any(not isinstance(callback, EpochProgress) for callback in callbacks)
        or config.early_stopping is not None
        or config.schedule is not None
        or run.on_epoch is not None
        or program.attached is not None
        or program.running()
        or getattr(program.optimizer, "use_ema", False)  # the average takes the weights' place
    )


def make_optimizer(config: FitConfig) -> keras.optimizers.Optimizer:
    """A fresh optimizer with the configured learning rate."""
    optimizer = keras.optimizers.get(config.optimizer)
    settings = optimizer.get_config()
    if config.learning_rate is not None:
        settings["learning_rate"] = config.learning_rate
    return optimizer.__class__.from_config(settings)


def cosine(share: float) -> float:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017, equation 5)."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


@dataclass
class _Best:
    value: float = math.inf
    epoch: int = 0
    weights: list | None = None


class _Run:
    """One pass through the epochs."""

    def __init__(self, program, train, validation, config, seed, deadline, on_epoch, regime):
        self.program: Program = program
        regime = regime or descent()
        self.draw, self.report, self.steps_done = ORDERS[regime.order], regime.report, 0
        self.train, self.config, self.deadline, self.on_epoch = train, config, deadline, on_epoch
        self.rng = np.random.default_rng(seed)
        self.on_device = _tensors(train) if train.size_bytes <= DEVICE_BYTES else None
        self.validation = None if validation is None else _tensors(validation)
        self.classifies = isinstance(
            program.loss,
            keras.losses.SparseCategoricalCrossentropy | keras.losses.BinaryCrossentropy,
        )
        self.slice_steps = 1  # steps of one compiled call under a deadline; grows as it is timed
        self.batch_done = 0
        self.watch: Callable[[int, dict], None] | None = None
        self.start: Checkpoint | None = None

    def resume(self, start: Checkpoint | None) -> None:
        """Begin where another training ended."""
        if start is not None and start.epoch < self.config.epochs:
            self.start = start
            assign(self.program.model.variables, start.weights)
            assign(self.program.optimizer.variables, start.optimizer_state)
            self.rng.bit_generator.state = start.rng

    def checkpoint(self, result: FitResult) -> Checkpoint:
        """Where this training has ended."""
        return Checkpoint(
            result.epochs,
            self.program.state(),
            self.program.optimizer_state(),
            self.rng.bit_generator.state,
            {name: list(values) for name, values in result.history.items()},
        )

    def execute(self, callbacks) -> FitResult:
        config, program = self.config, self.program
        hooks = keras.callbacks.CallbackList(
            list(callbacks or ()),
            model=program.model,
            epochs=config.epochs,
            steps=-(-len(self.train) // config.batch_size),
            verbose=0,
        )
        self.per_step = any(_has_batch_hooks(c) for c in hooks.callbacks)
        self.hooks = hooks
        factor = cosine if config.schedule == "cosine" else config.schedule
        if has_schedule(program.optimizer):
            factor = None
        base_rate = None if factor is None else float(program.optimizer.learning_rate)
        result, best, first = FitResult([]), _Best(), 1
        if self.start is not None:
            first = self.start.epoch + 1
            result.history = {name: list(values) for name, values in self.start.history.items()}
        hooks.on_train_begin()
        for epoch in range(first, config.epochs + 1):
            if factor is not None:
                program.optimizer.learning_rate = base_rate * factor((epoch - 1) / config.epochs)
            hooks.on_epoch_begin(epoch - 1)
            logs, finished = self._epoch(epoch)
            result.epochs = epoch
            for name, value in logs.items():
                result.history.setdefault(name, []).append(value)
            hooks.on_epoch_end(epoch - 1, logs)
            if self.watch is not None:
                self.watch(epoch, logs)
            result.stopped = self._why_stop(epoch, logs, finished, best)
            if result.stopped != "epochs":
                break
        # moving averages of the weights, where the optimizer keeps them, take their place
        program.optimizer.finalize_variable_values(program.model.trainable_variables)
        hooks.on_train_end(logs)
        if best.weights is not None:
            result.weights, result.best_epoch = best.weights, best.epoch
        else:
            result.weights, result.best_epoch = program.state(), result.epochs
        return result

    def _why_stop(self, epoch, logs, finished, best) -> str:
        patience = self.config.early_stopping
        value = logs.get("val_loss", logs["loss"])
        if patience is not None and value < best.value:
            best.value, best.epoch, best.weights = value, epoch, self.program.state()
        asked = self.on_epoch is not None and self.on_epoch(epoch, logs)
        if not finished or (self.deadline is not None and time.monotonic() >= self.deadline):
            return "deadline"
        if asked or self.program.model.stop_training:
            return "callback"
        if patience is not None and epoch - best.epoch >= patience:
            return "early_stopping"
        return "epochs"

    def _epoch(self, epoch):
        order = self.draw(self.rng, len(self.train), self.config.batch_size)
        self.batch_done = 0
        rows = losses = hits = 0.0
        finished = True
        for batch, inner in self._pieces(order):
            n, loss, hit, finished = self._piece(epoch, batch, inner)
            rows, losses, hits = rows + n, losses + loss, hits + hit
            if not finished:
                break
        logs = {"loss": losses / max(rows, 1)}
        if self.classifies:
            logs["accuracy"] = hits / max(rows, 1)
        if self.validation is not None:
            loss, accuracy = self.program.evaluate(self.validation)
            logs["val_loss"] = loss
            if self.classifies:
                logs["val_accuracy"] = accuracy
        self.steps_done += self.batch_done
        if self.report is not None:
            logs |= self.report(self.steps_done)
        return logs, finished

    def _pieces(self, order):
        if self.on_device is not None:
            yield self.on_device, order
            return
        for piece, inner in order.pieces(self.train):
            yield _tensors(piece), inner

    def _piece(self, epoch, batch, order):
        """Train on rows that are on the device, in as few compiled calls as allowed."""
        rows, n_steps = tf.constant(order.rows), order.n_steps
        losses = hits = 0.0
        step = 0
        while step < n_steps:
            stop = min(n_steps, step + self._steps_per_call(n_steps))
            if self.per_step:
                self.hooks.on_train_batch_begin(self.batch_done)
            clock = time.monotonic()
            loss, hit, reached = self.program.train(batch, rows, step, stop, order.size)
            self._learn_pace(stop - step, time.monotonic() - clock)
            if not math.isfinite(loss):
                self._diverged(epoch, reached)
            if self.per_step:
                n = max(1, order.n_rows(step, stop))
                logs = {"loss": loss / n} | ({"accuracy": hit / n} if self.classifies else {})
                self.hooks.on_train_batch_end(self.batch_done, logs)
            self.batch_done += stop - step
            losses, hits, step = losses + loss, hits + hit, stop
            if self.deadline is not None and time.monotonic() >= self.deadline:
                break
        return order.n_rows(0, step), losses, hits, step == n_steps

    def _steps_per_call(self, n_steps):
        if self.per_step:
            return 1
        return n_steps if self.deadline is None else self.slice_steps

    def _learn_pace(self, steps, seconds):
        # the first call also traces: growing by at most 8 a call forgets that quickly
        wanted = int(steps * SLICE_S / max(seconds, 1e-6))
        self.slice_steps = max(1, min(wanted, 8 * self.slice_steps))

    def _diverged(self, epoch, step):
        rate = self.program.optimizer.get_config().get("learning_rate")
        raise TrainingDiverged(
            f"The loss stopped being finite in epoch {epoch}, step {step}: lower the "
            f"'learning_rate' (it is {rate}), clip gradients (an optimizer with clipnorm=1.0), "
            "or look for extreme values in X or y."
        )


def _tensors(data: Batch) -> TensorBatch:
    weight = None if data.weight is None else tf.constant(data.weight, tf.float32)
    return TensorBatch(tf.constant(data.x), tf.constant(data.y), weight)


_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")


def _has_batch_hooks(callback) -> bool:
    base = keras.callbacks.Callback
    return any(getattr(type(callback), h) is not getattr(base, h) for h in _BATCH_HOOKS)
