"""The seam of continual learning: a strategy's hooks, values in, values out.

One experience (the rows of one task) is learnt like this::

    state = strategy.before(experience)
    rows = strategy.batches(experience)
    for batch in epochs over rows:                              # one compiled loop
        objective = strategy.objective(own_objective, step)
        gradients = gradient(objective)(params, buffers, batch)
        gradients, changed = strategy.gradients(gradients, params, buffers, batch, step)
        params = optimizer(params, gradients)
    state = strategy.after(experience)

`objective` and `gradients` are traced once for all experiences: whatever changes between them is
in the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from autokit._backend import keras
from autokit.continual.memory import Memory
from autokit.continual.network import resized
from autokit.training import Batch, ModelState, Objective, TensorBatch

State = dict[str, Any]


class PerUnit(NamedTuple):
    """Values of a state with an entry per output unit in the last axis.

    They are widened with the head by NaN, and cut.
    """

    values: np.ndarray


@dataclass(frozen=True)
class TracedStep:
    """What a strategy may use while a training step is traced; all are tensors.

    Attributes
    ----------
    state : dict
        The strategy's own, as it left it.
    groups : int32 of shape (n_units,)
        The head that each output unit belongs to; -1 for units not in use.
    known : bool of shape (n_units,)
        The units that earlier experiences had already.
    n_before : int32 of shape ()
        Experiences learnt before this one.
    memory : TensorBatch or None
        Rows drawn from the memory for this step, as many as the batch has; None if the strategy
        keeps none.
    memory_outputs : float32 of shape (n_rows, n_units) or None
        What the network answered when those rows were stored; NaN for units of later classes.
    has_memory : float32 of shape ()
        0 as long as nothing was stored (`memory` is a row of zeros then), else 1.
    seed : int32 of shape (2,)
        Another in each step, for ``tf.random.stateless_*``.
    own : callable
        ``own(groups=None, training=True) -> Objective``: the loss of the rows alone, over the
        units of each row's head, with other groups if given.
    outputs : callable
        ``outputs(params, buffers, x, training=False)``: the network's raw outputs, of shape
        (n_rows, n_units).
    classifies : bool
        Whether outputs are logits of classes; numbers otherwise.
    """

    state: State
    groups: Any
    known: Any
    n_before: Any
    memory: TensorBatch | None
    memory_outputs: Any
    has_memory: Any
    seed: Any
    own: Callable[..., Objective]
    outputs: Callable[..., Any]
    classifies: bool

    def of(self, state: State) -> TracedStep:
        """The same with another state."""
        return TracedStep(**{**self.__dict__, "state": state})


@dataclass
class Experience:
    """What one experience was, on the host.

    Attributes
    ----------
    number : int
        Counted from 0.
    group : int
        The head it belongs to.
    batch : Batch
        Its encoded rows: x, and y as units (int32), or numbers and, last, the head.
    memory : Memory
        As it was before the experience.
    state : dict
        The strategy's own; after training with what the steps have changed.
    before, learnt : ModelState
        Trainable parameters and buffers, without and with this experience. `learnt` is None
        until the training is over.
    groups : np.ndarray of shape (n_units,)
    network : keras.Model
        With the values of `learnt` after training.
    rng : np.random.Generator
    sweep : callable or None
        ``sweep(name, function, batch=None, rows=128)`` sums the nest of tensors that
        ``function(params, buffers, batch, step, start)`` gives over all rows (by default the
        experience's), `rows` at a time; compiled once for a name. Only after training.
    train : callable or None
        ``train(epochs, constraints=None)`` trains `network` further on the same rows and renews
        `learnt`. Only after training.
    remember : callable or None
        ``remember()``: the memory as it will be after the experience. Only after training.
    """

    number: int
    group: int
    batch: Batch
    memory: Memory
    state: State
    before: ModelState
    groups: np.ndarray
    network: keras.Model
    rng: np.random.Generator
    learnt: ModelState | None = None
    sweep: Callable[..., Any] | None = None
    train: Callable[..., None] | None = None
    remember: Callable[[], Memory] | None = None

    def of(self, state: State) -> Experience:
        """The same with another state."""
        return Experience(**{**self.__dict__, "state": state})


@dataclass(frozen=True)
class Growth:
    """New output units of a network.

    Attributes
    ----------
    n_units : int
        All of them.
    places : np.ndarray of int
        Where each of the former units is now.
    group : int
        The head of the coming experience.
    groups : np.ndarray of shape (n_units,)
    seed : int
        Of the new weights.
    """

    n_units: int
    places: np.ndarray
    group: int
    groups: np.ndarray
    seed: int


@dataclass(kw_only=True, eq=False, repr=False)
class Strategy(BaseEstimator):
    """Learns without a thought for the past; the base of all strategies.

    A subclass overrides the hooks it needs. Its fields are parameters that ``GridSearchCV`` can
    search (``strategy__strength``).

    State is a dict of arrays. A *list* in it has one array per trainable parameter, of the
    parameter's shape: it is widened with the head (by zeros), and cut; so is a `PerUnit` (by
    NaN). Anything else (arrays, tuples of arrays) is left as it is. What `before` gives must
    have one structure in all experiences.
    """

    uses_memory: ClassVar[bool] = False
    keeps_all: ClassVar[bool] = False  # the memory has no limit
    starts_anew: ClassVar[bool] = False  # each experience begins with fresh weights
    stores_outputs: ClassVar[bool] = False  # the memory keeps the network's answers too
    task_heads: ClassVar[bool] = False  # a head for each task in every scenario
    needs_task: ClassVar[bool] = False  # cannot tell of which task a row is
    weak_without_task: ClassVar[bool] = False  # near chance where classes of all tasks compete
    pads_head: ClassVar[bool] = True  # its network may have unused output units while it learns
    classifies_only: ClassVar[bool] = False
    running: ClassVar[tuple[str, ...]] = ()  # keys of the state that training steps change
    _parameter_constraints: ClassVar[dict] = {}

    @property
    def selection(self) -> str:
        """How the memory chooses: a key of `autokit.continual.memory.SELECTIONS`."""
        return "reservoir"

    def key(self) -> str:
        """What two strategies must agree in to share a compiled training."""
        return f"{type(self).__name__}{sorted(self.get_params(deep=False).items())}"

    def start(self, params: Sequence[np.ndarray], buffers: Sequence[np.ndarray]) -> State:
        """The state before the first experience."""
        return {}

    def before(self, experience: Experience) -> State:
        """The state that the steps of an experience read."""
        return experience.state

    def batches(self, experience: Experience) -> Batch:
        """The rows to train on."""
        return experience.batch

    def objective(self, objective: Objective, step: TracedStep) -> Objective:
        """The objective that is minimised, around the objective of the rows alone."""
        return objective

    def gradients(
        self, gradients: list, params: list, buffers: list, batch: TensorBatch, step: TracedStep
    ) -> tuple[list, State]:
        """Other gradients, and new values for the keys named in `running`."""
        return gradients, {}

    def after(self, experience: Experience) -> State:
        """The state for the experiences to come."""
        return experience.state

    def grow(self, network: keras.Model, state: State, growth: Growth) -> keras.Model:
        """The network with more output units, its former answers unchanged."""
        return resized(network, growth.n_units, growth.places, growth.seed)

    def answer(self, network: keras.Model, state: State, groups: np.ndarray, group: int):
        """The model that answers for a head; by default the network that is trained.

        Parameters
        ----------
        network : keras.Model
        state : dict
        groups : np.ndarray of shape (n_units,)
        group : int

        Returns
        -------
        keras.Model
            With the same output units.
        """
        return network

    def split(self, state: State) -> tuple[State, State]:
        """What steps only read, and what they change."""
        fixed = {k: v for k, v in state.items() if k not in self.running}
        return fixed, {k: state[k] for k in self.running if k in state}

    def merged(self, fixed: State, changed: State) -> State:
        """The inverse of `split`."""
        return {**fixed, **changed}


class Chain(Strategy):
    """Several strategies at once: the objective of one is wrapped by the next.

    Parameters
    ----------
    strategies : sequence of Strategy
    """

    def __init__(self, strategies):
        self.strategies = strategies

    def _any(self, name: str) -> bool:
        return any(getattr(s, name) for s in self.strategies)

    uses_memory = property(lambda self: self._any("uses_memory"))
    keeps_all = property(lambda self: self._any("keeps_all"))
    starts_anew = property(lambda self: self._any("starts_anew"))
    stores_outputs = property(lambda self: self._any("stores_outputs"))
    needs_task = property(lambda self: self._any("needs_task"))
    classifies_only = property(lambda self: self._any("classifies_only"))
    weak_without_task = property(lambda self: all(s.weak_without_task for s in self.strategies))
    selection = property(
        lambda self: next((s.selection for s in self.strategies if s.uses_memory), "reservoir")
    )

    def get_params(self, deep=True):
        parts = {f"{i}": s for i, s in enumerate(self.strategies)}
        inner = {f"{i}__{k}": v for i, s in parts.items() for k, v in s.get_params(deep).items()}
        return {"strategies": self.strategies, **(inner if deep else {})}

    def set_params(self, **params):
        if "strategies" in params:
            self.strategies = params.pop("strategies")
        for name, value in params.items():
            place, _, rest = name.partition("__")
            self.strategies[int(place)].set_params(**{rest: value})
        return self

    def key(self):
        return "+".join(s.key() for s in self.strategies)

    def start(self, params, buffers):
        return {str(i): s.start(params, buffers) for i, s in enumerate(self.strategies)}

    def before(self, experience):
        state = experience.state
        return {
            str(i): s.before(experience.of(state[str(i)])) for i, s in enumerate(self.strategies)
        }

    def batches(self, experience):
        batch = experience.batch
        for i, s in enumerate(self.strategies):
            own = experience.of(experience.state[str(i)])
            own.batch = batch
            batch = s.batches(own)
        return batch

    def objective(self, objective, step):
        for i, s in enumerate(self.strategies):
            objective = s.objective(objective, step.of(step.state[str(i)]))
        return objective

    def gradients(self, gradients, params, buffers, batch, step):
        changed = {}
        for i, s in enumerate(self.strategies):
            own = step.of(step.state[str(i)])
            gradients, changed[str(i)] = s.gradients(gradients, params, buffers, batch, own)
        return gradients, changed

    def after(self, experience):
        state = experience.state
        return {
            str(i): s.after(experience.of(state[str(i)])) for i, s in enumerate(self.strategies)
        }

    def split(self, state):
        parts = [s.split(state[str(i)]) for i, s in enumerate(self.strategies)]
        return tuple({str(i): part[side] for i, part in enumerate(parts)} for side in (0, 1))

    def merged(self, fixed, changed):
        return {
            str(i): s.merged(fixed[str(i)], changed.get(str(i), {}))
            for i, s in enumerate(self.strategies)
        }


def chain(*strategies) -> Chain:
    """Several strategies at once.

    Parameters
    ----------
    *strategies : str or Strategy
        Names of `STRATEGIES` or instances. Strategies that shape the network or its answers
        (progressive networks, PackNet, iCaRL) stand alone.

    Returns
    -------
    Chain

    Raises
    ------
    ValueError
        Fewer than two, an unknown name, or one that stands alone.

    Examples
    --------
    >>> from autokit.continual import chain, EWC
    >>> len(chain(EWC(strength=100.0), "replay").strategies)
    2
    """
    from autokit.continual.strategies import make

    if len(strategies) < 2:
        raise ValueError(
            f"chain takes two strategies or more; got {len(strategies)}. Pass one by itself as "
            "the 'strategy' parameter."
        )
    parts = [make(s) for s in strategies]
    for s in parts:
        alone = (
            isinstance(s, Chain)
            or type(s).grow is not Strategy.grow
            or type(s).answer is not Strategy.answer
            or s.task_heads
        )
        if alone:
            raise ValueError(
                f"chain cannot combine {type(s).__name__}, which shapes the network or its "
                "answers; pass it by itself as the 'strategy' parameter."
            )
    return Chain(tuple(parts))
