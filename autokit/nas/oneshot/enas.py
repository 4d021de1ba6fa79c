"""ENAS: a controller that learns which children do well with shared weights."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from autokit._backend import tf
from autokit.nas.oneshot.controller import Controller
from autokit.nas.oneshot.epochs import EpochClock, rate_at, row_order, shuffled_halves
from autokit.nas.oneshot.history import SupernetHistory
from autokit.nas.oneshot.retraining import retrained
from autokit.nas.oneshot.single_path import SharedWeightsTraining, WeightSettings
from autokit.nas.oneshot.supernet import make_supernet
from autokit.training import TensorBatch, adam
from autokit.training.objectives import make_loss, n_correct

if TYPE_CHECKING:
    from autokit.nas.evaluators.train import TrainEvaluator
    from autokit.nas.result import SearchResult

WORST_REWARD = -1.0  # of a child whose numbers are far off: one draw must not upset the policy


@dataclass(frozen=True)
class ControllerSettings:
    """How the controller learns.

    Parameters
    ----------
    controller_rate : float, default=0.01
        Of its Adam. The paper's 3.5e-4 goes with a hundred times as many steps.
    controller_steps : int, default=50
        In an epoch, each with one child on one batch.
    entropy_weight : float, default=1e-3
    baseline_decay : float, default=0.95
        Of the moving mean of rewards.
    warm_up : float in [0, 1), default=0.3
        Share of the epochs in which the controller waits, and children are uniform: the rewards
        of untrained weights favour what learns fastest, which is to skip.
    n_children : int, default=20
        Ranked by the shared weights at the end.
    """

    controller_rate: float = 0.01
    controller_steps: int = 50
    entropy_weight: float = 1e-3
    baseline_decay: float = 0.95
    warm_up: float = 0.3
    n_children: int = 20


class ControllerTraining:
    """Compiled REINFORCE steps, sampling and rewarding within the graph.

    ::

        child  ~ controller
        reward = accuracy of the child on a batch, by the shared weights
        controller += adam(d/dtheta ((reward - baseline) log p(child) + weight * entropy))
        baseline    = decay * baseline + (1 - decay) * reward

    Parameters
    ----------
    weights : SharedWeightsTraining
    settings : ControllerSettings
    seed : int
    """

    def __init__(self, weights: SharedWeightsTraining, settings: ControllerSettings, seed: int):
        self.weights, self.settings, self.seed = weights, settings, seed
        self.controller = Controller(weights.supernet.options, seed=seed)
        self.rule = adam(settings.controller_rate)
        self.moments = tf.nest.map_structure(
            tf.Variable, self.rule.init([tf.identity(v) for v in self.controller.variables])
        )
        self.baseline, self.is_first = tf.Variable(0.0), tf.Variable(True)
        self.steps = tf.function(self._steps, autograph=False)
        self.sample = tf.function(self._sample, autograph=False)

    def _sample(self, n, draw):
        """Decisions and paths of `n` children; `draw` numbers the draws of a search."""
        drawn = self.controller.sample(n, tf.stack([self.seed % 2**31, draw])).decisions
        return drawn, self.weights.supernet.route(drawn)

    def _steps(self, tensors, order, start, stop, batch_size, draw):
        """Steps `start` to `stop`: the sum of their rewards."""

        def body(i, rewards):
            rows = order[i * batch_size : (i + 1) * batch_size]
            batch = TensorBatch(*(tf.gather(t, rows) for t in tensors))
            return i + 1, rewards + self._step(batch, draw + i)

        start_of = (start, 0.0)
        return tf.while_loop(lambda i, _: i < stop, body, start_of, parallel_iterations=1)[1]

    def _step(self, batch, draw):
        settings, variables = self.settings, self.controller.variables
        with tf.GradientTape() as tape:
            drawn = self.controller.sample(1, tf.stack([self.seed % 2**31, draw]))
            path = self.weights.supernet.route(drawn.decisions)[0]
            reward = tf.stop_gradient(self._reward(batch, path))
            before = tf.where(self.is_first, reward, self.baseline)
            gain = (reward - before) * drawn.log_probability[0]
            loss = -gain - settings.entropy_weight * drawn.entropy[0]
        slopes = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
        changes, moments = self.rule.update(slopes, self.moments, variables)
        tf.nest.map_structure(lambda old, new: old.assign(new), self.moments, moments)
        for variable, change in zip(variables, changes, strict=True):
            variable.assign_add(change)
        decay = settings.baseline_decay
        self.baseline.assign(decay * before + (1 - decay) * reward)
        self.is_first.assign(False)
        return reward

    def _reward(self, batch, path):
        params = [v.value for v in self.weights.params]
        step = self.weights.objective(params, path, batch)
        hits = n_correct(self.weights.loss, batch.y, step.outputs)
        share = hits / tf.cast(tf.shape(batch.y)[0], tf.float32)
        r2 = tf.clip_by_value(1.0 - step.loss, WORST_REWARD, 1.0)  # of standardised targets
        return tf.where(tf.math.is_nan(share), r2, share)


def enas(
    space,
    task,
    *,
    epochs: int = 50,
    seed: int = 0,
    deadline: float | None = None,
    progress=None,
    batch_size: int = 64,
    retrain_epochs: int | None = None,
    trainer: TrainEvaluator | None = None,
    weights: WeightSettings | None = None,
    **settings,
) -> SearchResult:
    """Search by a controller over shared weights, then train what was found from scratch.

    ::

        for each epoch:
            shared weights: for each batch of half 1, a child ~ controller;  w = w - sgd(dL/dw)
            controller:     REINFORCE on the accuracy of its children on batches of half 2
        children ~ controller;  the best by the shared weights on half 2 is trained from scratch

    The halves are of the training rows. Children are drawn in the compiled step: only what a
    child has is computed, and no child traces anything.

    Parameters
    ----------
    space : SearchSpace
        With a method ``supernet``.
    task : Task
    epochs : int, default=50
        Of the supernet, each as many passes over half 1 as an edge has operations: a step trains
        one of them.
    seed : int, default=0
    deadline : float or None, default=None
        ``time.monotonic()`` second at which everything must be over; the supernet stops early
        enough to train what it found.
    progress : SearchProgress or None, default=None
    batch_size : int, default=64
    retrain_epochs : int or None, default=None
        Of what was found; None is `epochs`.
    trainer : TrainEvaluator or None, default=None
        Trains what was found; None is one with its defaults.
    weights : WeightSettings or None, default=None
    **settings
        Of `ControllerSettings`.

    Returns
    -------
    SearchResult
        Of one evaluation, with a `SupernetHistory` as ``supernet``.

    Raises
    ------
    ValueError
        The space has no supernet.
    TrainingDiverged
        A loss stopped being finite.

    References
    ----------
    Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018, section
    2.2. We depart from it in the warm-up of `ControllerSettings`, and rank the last children on
    all rows of half 2, where the paper uses one batch.
    """
    retrain_epochs = epochs if retrain_epochs is None else retrain_epochs
    settings, rates = ControllerSettings(**settings), weights or WeightSettings()
    supernet = make_supernet(space, task, seed)
    shared = SharedWeightsTraining(supernet, make_loss(task.loss), rates)
    policy = ControllerTraining(shared, settings, seed)
    rng = np.random.default_rng(seed)
    clock = EpochClock(deadline, epochs, retrain_epochs)
    training, validation = shuffled_halves(task, seed)
    n_rows, n_judges = (int(part[0].shape[0]) for part in (training, validation))
    n_steps = supernet.n_operations * max(1, n_rows // batch_size)
    size = tf.constant(batch_size)
    history = SupernetHistory(supernet.operations, supernet.edge_names)
    draw = 0
    for epoch in clock.each():
        started = time.monotonic()
        rate = tf.constant(rate_at(epoch, epochs, rates.learning_rate, rates.final_rate))
        draw += 1
        _, paths = policy.sample(tf.constant(n_steps), tf.constant(draw))
        order = row_order(n_rows, n_steps * batch_size, rng)
        (loss,) = clock.run(
            n_steps,
            lambda a, b, o=order, p=paths, r=rate: shared.steps(training, o, p, a, b, size, r),
        )
        reward = float("nan")
        if epoch >= settings.warm_up * epochs and not clock.is_late:
            order = row_order(n_judges, settings.controller_steps * batch_size, rng)
            first, draw = tf.constant(draw + 1), draw + settings.controller_steps
            (reward,) = clock.run(
                settings.controller_steps,
                lambda a, b, o=order, d=first: policy.steps(validation, o, a, b, size, d),
            )
        draw += 1
        history.record(
            supernet,
            _frequencies(policy, supernet, draw),
            weights_loss=loss,
            reward=reward,
            seconds=time.monotonic() - started,
        )
    history.children = _ranked(policy, shared, task, validation, settings.n_children, draw + 1)
    found = history.children[0][0]
    return retrained(found, space, task, trainer, clock, seed, progress, history)


def _frequencies(policy, supernet, draw, n: int = 200) -> np.ndarray:
    """How often the controller puts each operation on each edge."""
    _, paths = policy.sample(tf.constant(n), tf.constant(draw))
    return np.eye(supernet.n_operations + 1)[paths.numpy()].mean(axis=0)[:, :-1]


def _ranked(policy, shared, task, tensors, n_children, draw) -> tuple:
    """Children of the controller with their scores by shared weights, the best first."""
    drawn, _ = policy.sample(tf.constant(4 * n_children), tf.constant(draw))
    children = dict.fromkeys(shared.supernet.architecture(d) for d in drawn.numpy())
    scored = []
    for child in list(children)[:n_children]:
        score, loss = shared.score(task, tensors, child)
        scored.append((score, -loss, child))
    scored.sort(key=lambda s: s[:2], reverse=True)
    return tuple((child, score) for score, _, child in scored)
