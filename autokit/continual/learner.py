"""Learn one experience: from what was learnt before and new rows to what is learnt now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.continual.memory import SELECTIONS, Memory, Offer
from autokit.continual.network import (
    capacity,
    features_of,
    head_of,
    placed,
    resized,
    shapes_of,
    untrained,
)
from autokit.continual.protocols import Experience, Growth, State, Strategy
from autokit.continual.tracing import regime, tracer
from autokit.continual.widths import (
    narrowed,
    narrowed_values,
    optimizer_shapes,
    widened,
    widened_values,
)
from autokit.layers import copied
from autokit.training import (
    Batch,
    Constraints,
    FitConfig,
    Regime,
    TensorBatch,
    fit,
    snapshot,
)
from autokit.training.fit_loop import make_optimizer
from autokit.training.forward import answers
from autokit.training.programs import borrowed
from autokit.training.state import assign, generators, values_of

SWEEP_ROWS = 128


@dataclass(frozen=True)
class Learnt:
    """All that a continual model keeps between experiences, besides the rows held out.

    Attributes
    ----------
    network : keras.Model
        The network that is trained, to raw outputs of all heads.
    heads : ClassHeads or NumberHeads
    state : dict
        The strategy's own.
    memory : Memory
    optimizer_state : list of np.ndarray
        Empty before the first experience.
    n_experiences : int
    history : dict of list of float
        Of the last experience: a value per epoch.
    known : np.ndarray of bool, shape (n_units,), or None
        The output units that were there when the last experience was learnt; None before any.
    """

    network: keras.Model
    heads: Any
    state: State
    memory: Memory
    optimizer_state: list = field(default_factory=list)
    n_experiences: int = 0
    history: dict = field(default_factory=dict)
    known: np.ndarray | None = None

    def __getstate__(self):
        return {**self.__dict__, "seed_states": values_of(generators(self.network))}

    def __setstate__(self, state):
        seed_states = state.pop("seed_states")
        self.__dict__.update(state)
        assign(generators(self.network), seed_states)


@dataclass(frozen=True)
class LearningConfig:
    """How experiences are learnt."""

    strategy: Strategy
    config: FitConfig
    memory_size: int
    seed: int
    callbacks: Sequence = ()


def grown(learnt: Learnt, heads: Any, places: np.ndarray, group: int, setup) -> Learnt:
    """What was learnt, with the network, state and memory ready for further output units.

    Parameters
    ----------
    learnt : Learnt
    heads : ClassHeads or NumberHeads
        With the new units.
    places : np.ndarray of int
        Where each of the former units is among them.
    group : int
        The head of the coming experience.
    setup : LearningConfig
    """
    if heads.n_units == learnt.heads.n_units:
        return replace(learnt, heads=heads)
    strategy, old = setup.strategy, learnt.network
    seed = derived(setup.seed, learnt.n_experiences, 0)
    growth = Growth(heads.n_units, places, group, heads.groups, seed)
    network = strategy.grow(old, learnt.state, growth)
    memory, n_units = learnt.memory, heads.n_units
    outputs = memory.outputs
    if outputs is not None:
        outputs = placed(outputs, (len(outputs), n_units), places, np.nan)
    memory = replace(memory, y=heads.moved(memory.y, places), outputs=outputs)
    known = np.zeros(n_units, bool)
    known[places] = True
    state, optimizer_state = learnt.state, []
    if head_of(network) is not None and len(network.variables) == len(old.variables):
        shapes = shapes_of(network.trainable_variables)
        state = widened(state, shapes, places, n_units)
        if learnt.optimizer_state:
            slots = optimizer_shapes(network, setup.config)
            optimizer_state = widened_values(learnt.optimizer_state, slots, places)
    return replace(
        learnt,
        network=network,
        heads=heads,
        memory=memory,
        state=state,
        optimizer_state=optimizer_state,
        known=known,
    )


def learn(
    learnt: Learnt, batch: Batch, group: int, setup: LearningConfig, constraints=None
) -> Learnt:
    """Learn one experience; `learnt` stays as it is.

    Parameters
    ----------
    learnt : Learnt
        With a unit for everything in `batch`.
    batch : Batch
        Encoded rows; y as units, or numbers and the head.
    group : int
        The head of the rows.
    setup : LearningConfig
    constraints : Constraints, default=None
        Structure of the network that training keeps.

    Returns
    -------
    Learnt

    Raises
    ------
    TrainingDiverged
        The loss stopped being finite.
    """
    return _Learning(learnt, batch, group, setup, constraints).run()


def derived(seed: int, *path: int) -> int:
    """A seed of its own for a purpose."""
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0] >> 1)


class _Learning:
    """One experience, while it is learnt."""

    def __init__(self, learnt, batch, group, setup, constraints):
        self.learnt, self.setup, self.constraints = learnt, setup, constraints
        self.strategy, self.heads = setup.strategy, learnt.heads
        number = learnt.n_experiences
        self.seed = derived(setup.seed, number, 1)
        if self.strategy.starts_anew and number:
            fresh = untrained(learnt.network, derived(setup.seed, number, 3))
            learnt = replace(learnt, network=fresh, optimizer_state=[])
            self.learnt = learnt
        n_units = self.heads.n_units
        widens = self.strategy.pads_head and head_of(learnt.network) is not None
        self.n_wide = capacity(n_units) if widens else n_units
        network = learnt.network
        self.exact = shapes_of(network.trainable_variables)
        if self.n_wide > n_units:
            network = resized(network, self.n_wide, np.arange(n_units), seed=0)
        else:
            network = copied(network)
        self.wide = shapes_of(network.trainable_variables)
        self.network = network
        self.groups = np.concatenate(
            [self.heads.groups, np.full(self.n_wide - n_units, -1, np.int32)]
        )
        known = np.zeros(n_units, bool) if learnt.known is None else learnt.known
        self.known = np.concatenate([known, np.zeros(self.n_wide - n_units, bool)])
        before = snapshot(network)
        state = learnt.state or self.strategy.start(*before)
        state = widened(state, self.wide, np.arange(n_units), self.n_wide)
        self.experience = Experience(
            number=number,
            group=group,
            batch=batch,
            memory=learnt.memory,
            state=state,
            before=before,
            groups=self.groups,
            network=network,
            rng=np.random.default_rng(derived(setup.seed, number, 2)),
        )
        self.history: dict[str, list[float]] = {}
        self.kept: Memory | None = None
        self.optimizer_state = self._wide_optimizer_state()

    def run(self) -> Learnt:
        experience, strategy = self.experience, self.strategy
        experience.state = strategy.before(experience)
        self.rows = strategy.batches(experience)
        self._train(self.setup.config.epochs)
        experience.sweep, experience.train = self._sweep, self._train
        experience.remember = self._remember
        state = strategy.after(experience)
        self._finish_network()
        return Learnt(
            network=self.result,
            heads=self.heads,
            state=narrowed(state, self.exact, self.heads.n_units),
            memory=self._remember(),
            optimizer_state=self._exact_optimizer_state(),
            n_experiences=experience.number + 1,
            history=self.history,
            known=np.ones(self.heads.n_units, bool),
        )

    def _train(self, epochs: int, constraints: Constraints | None = None) -> None:
        experience = self.experience
        both = constraints if constraints is not None else self.constraints
        if constraints is not None and self.constraints is not None:
            both = constraints.over(self.constraints)
        result = fit(
            self.network,
            self.rows,
            config=replace(self.setup.config, epochs=int(epochs)),
            seed=derived(self.seed, len(self.history.get("loss", ()))),
            callbacks=self.setup.callbacks,
            optimizer_state=self.optimizer_state or None,
            constraints=both,
            regime=self._regime(),
        )
        self.optimizer_state = result.optimizer_state
        for name, values in result.history.items():
            self.history.setdefault(name, []).extend(values)
        fixed, _ = self.strategy.split(experience.state)
        experience.state = self.strategy.merged(fixed, result.running["state"])
        experience.learnt = snapshot(self.network)
        self.kept = None

    def _sweep(self, name, function, batch=None, rows=SWEEP_ROWS):
        own = tracer(self.heads, self.strategy)
        batch = self.experience.batch if batch is None else batch

        def make(model, loss):
            def piece(params, buffers, tensors, fixed, start):
                return function(params, buffers, tensors, own(model, loss, fixed), start)

            return piece

        optimizer, own_regime = make_optimizer(self.setup.config), self._regime()
        loss = self.heads.loss()
        weight = None if batch.weight is None else tf.constant(batch.weight, tf.float32)
        tensors = TensorBatch(tf.constant(batch.x), tf.constant(batch.y), weight)
        with borrowed(self.network, optimizer, loss, None, self.constraints, own_regime) as program:
            return program.sweep(name, make, tensors, rows)

    def _regime(self) -> Regime:
        wide = (self.heads.n_units, self.n_wide)
        return regime(self.experience, self.strategy, self.heads, self.known, wide, self.seed)

    def _finish_network(self) -> None:
        """Cut the units that were not in use."""
        if self.n_wide == self.heads.n_units:
            self.result = self.network
            return
        self.result = copied(self.learnt.network)
        shapes = shapes_of(self.result.variables)
        values = [v.value.numpy() for v in self.network.variables]
        assign(self.result.variables, narrowed_values(values, shapes))

    def _wide_optimizer_state(self) -> list:
        state = self.learnt.optimizer_state
        shapes = optimizer_shapes(self.network, self.setup.config)
        places = np.arange(self.heads.n_units)
        return widened_values(state, shapes, places) if len(state) == len(shapes) else []

    def _exact_optimizer_state(self) -> list:
        shapes = optimizer_shapes(self.result, self.setup.config)
        state = self.optimizer_state
        return narrowed_values(state, shapes) if len(state) == len(shapes) else []

    def _remember(self) -> Memory:
        if self.kept is None:
            self.kept = self._memory()
        return self.kept

    def _memory(self) -> Memory:
        strategy, experience, memory = self.strategy, self.experience, self.learnt.memory
        if not strategy.uses_memory:
            return memory
        batch, outputs, n_units = experience.batch, None, self.heads.n_units
        if strategy.stores_outputs:
            if memory.outputs is None:
                memory = replace(memory, outputs=np.zeros((0, n_units), np.float32))
            outputs = answers(self.network, batch.x)[:, :n_units]
        size = np.iinfo(int).max if strategy.keeps_all else self.setup.memory_size
        priority, rows = SELECTIONS[strategy.selection]
        offer = Offer(batch, lambda: answers(features_of(self.network), batch.x), size)
        both = memory.joined(batch, priority(offer, experience.rng), outputs)
        return both if len(both) <= size else both.take(rows(both, size))
