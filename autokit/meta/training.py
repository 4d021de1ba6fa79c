"""Meta-training: epochs of tasks, judged on classes that are held out, resumable at any moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.meta.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from autokit.meta.episodes import Pool, answers_of
from autokit.meta.protocols import Layout, Learnt, MetaLearner
from autokit.meta.tracing import answerer, first_running, loss_of, regime, scores_of
from autokit.training import Batch, FitConfig, Forward, fit
from autokit.training.state import assign, values_of

EPOCH_STEPS = 100  # outer steps of one compiled call
VALIDATION_TASKS = 200
_EPISODES, _VALIDATION, _EXTRAS = 0, 1, 2  # what a seed is for


def derived(seed: int, *path: int) -> int:
    """A seed of its own for a purpose."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0] >> 1)


@dataclass(frozen=True)
class Settings:
    """How a method is meta-trained.

    Attributes
    ----------
    method : MetaLearner
    layout : Layout
    n_episodes, meta_batch_size : int
    outer_learning_rate : float
    transductive : bool
    patience : int or None
        Epochs without a better score on held-out classes.
    seed : int
    storage : Path or None
    identity : dict
        What must agree for a training to go on from a storage.
    """

    method: MetaLearner
    layout: Layout
    n_episodes: int
    meta_batch_size: int
    outer_learning_rate: float
    transductive: bool = False
    patience: int | None = None
    seed: int = 0
    storage: Path | None = None
    identity: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """What tasks are drawn from.

    Attributes
    ----------
    x : np.ndarray of shape (n_rows, ...)
        Encoded.
    targets : np.ndarray of shape (n_rows, n_outputs) or None
        Of a regression.
    pool : Pool
    held : Pool or None
        Classes that validate.
    """

    x: np.ndarray
    targets: np.ndarray | None
    pool: Pool
    held: Pool | None = None


class MetaTraining:
    """One meta-training of a network, which it changes.

    Parameters
    ----------
    network : keras.Model
        `MetaLearner.network` of the method.
    rows : Rows
    settings : Settings
    on_epoch : callable
        ``(n_episodes, logs)``, after each epoch.
    """

    def __init__(self, network: keras.Model, rows: Rows, settings: Settings, on_epoch=None):
        self.network, self.rows, self.settings = network, rows, settings
        self._on_epoch = on_epoch
        self.loss = loss_of(rows.targets is not None)
        self._tensors = {"rows": tf.constant(rows.x)}
        if rows.targets is not None:
            self._tensors["targets"] = tf.constant(rows.targets)

    def run(self) -> Learnt:
        """Train, from where a storage says.

        Raises
        ------
        TrainingDiverged
            The loss stopped being finite.
        ValueError
            The storage belongs to another training.
        OSError
            The storage cannot be written.
        """
        settings, method = self.settings, self.settings.method
        running = first_running(method.extras(self.network, derived(settings.seed, _EXTRAS)))
        at = Checkpoint(weights=values_of(self.network.variables), running=running)
        if settings.storage is not None:
            at = read_checkpoint(settings.storage, settings.identity, at) or at
        validate = self._validation()
        while at.n_episodes < settings.n_episodes and not at.is_over:
            at = self._epoch(at, validate)
            if settings.storage is not None:
                write_checkpoint(settings.storage, settings.identity, at)
        weights, running = at.weights, at.running
        if settings.patience is not None and at.best_weights:
            weights, running = at.best_weights, at.best_running
        assign(self.network.variables, weights)
        return Learnt(
            network=method.meets(self.network),
            extras=list(running.get("extras", [])),
            method=method,
            layout=settings.layout,
            transductive=settings.transductive,
            is_regression=self.rows.targets is not None,
            history=at.history,
            n_episodes=at.n_episodes,
        )

    def _epoch(self, at: Checkpoint, validate) -> Checkpoint:
        settings, method, layout = self.settings, self.settings.method, self.settings.layout
        size = settings.meta_batch_size
        n = min(EPOCH_STEPS * size, settings.n_episodes - at.n_episodes)
        rng = np.random.default_rng(derived(settings.seed, _EPISODES, at.epoch))
        rate = settings.outer_learning_rate
        if method.anneals:
            rate *= 1.0 - at.n_episodes / settings.n_episodes
        fixed = self._tensors | {
            "rate": np.float32(rate),
            "numbers": method.number_values(),
        }
        assign(self.network.variables, at.weights)
        result = fit(
            self.network,
            self._drawn(rng, n),
            config=FitConfig(1, size, method.optimizer, rate, loss=self.loss),
            seed=derived(settings.seed, _EPISODES, at.epoch),
            optimizer_state=at.optimizer or None,
            regime=regime(
                method, layout, settings.transductive, self.rows.pool.turns, fixed, at.running
            ),
        )
        logs = {name: values[-1] for name, values in result.history.items()}
        if self.rows.targets is not None:
            logs.pop("accuracy", None)
        running = result.running if at.running else {}
        if validate is not None:
            logs |= validate(running)
        at = at.after(result, running, n, logs, settings.patience)
        if self._on_epoch is not None:
            self._on_epoch(at.n_episodes, logs)
        return at

    def _drawn(self, rng, n: int) -> Batch:
        method, layout, pool = self.settings.method, self.settings.layout, self.rows.pool
        if not method.episodic:
            return Batch(*pool.mixed(rng, layout, n))
        places = pool.draw(rng, layout, n)
        if self.rows.targets is None:
            return Batch(places, answers_of(layout, n))
        return Batch(places, self.rows.targets[places[:, layout.n_support :]])

    def _validation(self):
        """What judges the network on tasks of the classes held out, the same in each epoch."""
        held, settings = self.rows.held, self.settings
        if held is None:
            return None
        layout = settings.layout
        layout = layout._replace(n_way=min(layout.n_way, held.n_classes))
        rng = np.random.default_rng(derived(settings.seed, _VALIDATION))
        places = held.draw(rng, layout, VALIDATION_TASKS)
        network = judged = settings.method.meets(self.network)
        fewer = layout.n_way < settings.layout.n_way
        if fewer:
            judged, _ = settings.method.resized(network, [], layout.n_way)
        judge = Judge(judged, settings.method, layout, settings.transductive, self.loss)

        def validate(running) -> dict[str, float]:
            extras = list(running.get("extras", []))
            if fewer and judged is not network:
                other, extras = settings.method.resized(network, extras, layout.n_way)
                assign(judged.variables, values_of(other.variables))
            values = judge.scores(self.rows.x, self.rows.targets, places, extras)
            name, sign = ("val_mse", -1.0) if self.rows.targets is not None else ("val_accuracy", 1)
            return {name: sign * float(values.mean())}

        return validate


class Judge:
    """Scores of a network, as it is at the time, on tasks of one layout.

    Parameters
    ----------
    network : keras.Model
        What meets tasks, see `MetaLearner.meets`.
    method : MetaLearner
    layout : Layout
    transductive : bool
    loss : keras.losses.Loss
    """

    def __init__(self, network, method: MetaLearner, layout: Layout, transductive: bool, loss):
        self.network, self.method, self.layout = network, method, layout
        view, self._answers = answerer(method, network, layout, transductive, loss)
        self._is_regression = isinstance(loss, keras.losses.MeanSquaredError)
        self._forward: Any = None
        if method.embeds and method.embedded(view):
            self._forward = Forward(network)

    def scores(self, x, targets, places: np.ndarray, extras: list, scale=1.0) -> np.ndarray:
        """The score of each task, of shape (n_tasks,); see `scores_of`.

        Parameters
        ----------
        x : np.ndarray of shape (n_rows, ...)
            Encoded rows.
        targets : np.ndarray of shape (n_rows, n_outputs) or None
        places : np.ndarray of int32 of shape (n_tasks, n_support + n_queries)
        extras : list of np.ndarray
        scale : np.ndarray of shape (n_outputs,), default=1.0
            Of targets: errors are multiplied by it.
        """
        wanted, places = np.unique(places, return_inverse=True)
        places = places.reshape(-1, self.layout.n_support + self.layout.n_queries)
        rows = x[wanted]
        if self._forward is not None:  # each row is embedded once, however many tasks it is in
            rows = self._forward(rows)
        if targets is not None:
            targets = tf.constant(targets[wanted])
        params = [v.value for v in self.network.trainable_variables]
        buffers = [v.value for v in self.network.non_trainable_variables]
        params += [tf.constant(e) for e in extras]
        data = [tf.constant(rows), tf.constant(places.astype(np.int32))]
        data += [] if targets is None else [targets]
        outputs = self._answers(params, buffers, *data).numpy()
        n = self.layout.n_support
        asked = answers_of(self.layout, len(places))
        if targets is not None:
            asked = targets.numpy()[places[:, n:]]
        return scores_of(outputs * scale, asked * scale, self._is_regression)
