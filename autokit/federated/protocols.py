"""The seams of federated learning: what an algorithm is, and where rounds run.

One training is this::

    with engine.open(federation, state) as run:
        for chosen in sampling:                      # who takes part in the round
            report = run.round(chosen)               # broadcast, local training, aggregation

and one round, on whichever engine, is this::

    every chosen client k:
        w = weights                                                  # one vector
        for batch in batches_of(k):                                  # `schedule.batches`
            w = w - rate * (gradient(algorithm.objective)(w, batch) + algorithm.correction)
        delta_k = w - weights
    mean = aggregator(deltas, client weights)
    weights = weights + server step(gradient = -mean)                # `algorithm.server()`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from autokit._backend import keras
from autokit.federated.steps import ServerStep
from autokit.federated.weights import WeightLayout
from autokit.training import Batch, Objective

UNREADABLE = "its rows could not be read"  # why a client gave nothing: an error's text follows


class FederatedWarning(UserWarning):
    """A client cannot take part, or none of a round gave an update."""


class Clients(Protocol):
    """Whose rows are trained on: encoded, and read when a round needs them.

    Attributes
    ----------
    names : list
        The user's name of each client.
    sizes : np.ndarray of int of shape (n_clients,)
        Rows of each.
    """

    names: list
    sizes: np.ndarray

    def __len__(self) -> int: ...

    def batch(self, client: int) -> Batch:
        """Encoded rows of one client."""


@dataclass(frozen=True)
class Federation:
    """All that a round needs to know besides the state, whichever engine runs it.

    Attributes
    ----------
    model : keras.Model
        The architecture. Its variables are nobody's: engines neither read nor write them.
    loss : keras.losses.Loss
        Mean over the rows of a batch.
    clients : Clients
    algorithm : FederatedAlgorithm
    aggregator : Aggregator
    communication : Communication or None
        How updates are packed on their way to the server; None sends float32.
    server_step : ServerStep or None
        Instead of the algorithm's own; read `step`.
    privacy : PrivateRounds or None
    batch_norm : {"average", "local"}
    learning_rate : float
        Of the clients.
    local_epochs, batch_size : int
    seed : int
    client_seed : int or None
        Instead of `seed`, for what clients draw and may know of; read `local_seed`.
    layout : WeightLayout
        Of `model`.
    structure : callable or None
        ``(weights) -> weights``: brings the server's back to what a compressed network holds, such
        as zeros, after each round.
    """

    model: keras.Model
    loss: keras.losses.Loss
    clients: Clients
    algorithm: FederatedAlgorithm
    aggregator: Aggregator
    learning_rate: float
    local_epochs: int
    batch_size: int
    seed: int
    layout: WeightLayout
    server_step: ServerStep | None = None
    batch_norm: str = "average"
    communication: Communication | None = None
    privacy: Any = None
    structure: Callable[[np.ndarray], np.ndarray] | None = None
    client_seed: int | None = None

    @property
    def local_seed(self) -> int:
        """Of clients' batches, dropout and packing."""
        return self.seed if self.client_seed is None else self.client_seed

    @property
    def step(self) -> ServerStep:
        """What the server does with the mean of the updates."""
        return self.server_step or self.algorithm.server()


@dataclass
class ServerState:
    """Everything that the next round depends on: saved with the estimator, carried by no engine.

    Attributes
    ----------
    weights : np.ndarray of float32 of shape (layout.size,)
    round : int
        Rounds done.
    rule : list of np.ndarray
        The server step's state (momenta); empty before the first round.
    rule_of : str
        The rule that it is of.
    shared : np.ndarray of shape (n_params,) or (0,)
        What the algorithm broadcasts beside the weights (SCAFFOLD's control variate).
    kept : dict of name to dict of str to np.ndarray
        What clients keep from round to round, by their name: control variates, residuals of lossy
        updates, batch normalisation of their own.
    privacy : dict of str to float
        Running values of a private aggregation, such as an adaptive clipping norm.
    engine : dict of str to np.ndarray
        What an engine of another process keeps there, so that another may go on.
    """

    weights: np.ndarray
    round: int = 0
    rule: list[np.ndarray] = field(default_factory=list)
    shared: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    kept: dict = field(default_factory=dict)
    privacy: dict[str, float] = field(default_factory=dict)
    engine: dict[str, np.ndarray] = field(default_factory=dict)
    rule_of: str = ""


@dataclass(frozen=True)
class RoundReport:
    """What a round tells.

    Attributes
    ----------
    loss : float
        Mean over all rows that were trained on, as they were met; NaN if nobody took part.
    score : float
        Share of them that was right; NaN where targets are numbers.
    clients : list of int
        Who took part.
    dropped : dict of int to str
        Who was drawn but gave nothing that could be used, and why.
    bytes_down, bytes_up : int
        From the server to all clients, and back.
    """

    loss: float
    score: float
    clients: list[int]
    dropped: dict[int, str]
    bytes_down: int
    bytes_up: int


class FederatedRun(Protocol):
    """An engine at work.

    Attributes
    ----------
    state : ServerState
        As of the last finished round: a round that fails changes nothing.
    """

    state: ServerState

    def round(self, chosen: np.ndarray) -> RoundReport:
        """Run one round with the clients of these numbers."""


class FederatedEngine(Protocol):
    """Where rounds run."""

    def check(self, federation: Federation) -> None:
        """Refuse what this engine cannot do.

        Raises
        ------
        ValueError
            Names the argument, and the engine that can.
        """

    def open(
        self, federation: Federation, state: ServerState
    ) -> AbstractContextManager[FederatedRun]:
        """Begin, or go on from a state. Leaving ends all that was started."""


class FederatedAlgorithm(BaseEstimator):
    """Both halves of an algorithm; the default is federated averaging.

    Attributes
    ----------
    weighted : bool
        Whether clients count by their rows, or all alike.
    whole_batch : bool
        Whether a client takes one step on all its rows.
    has_variates : bool
        Whether `correction`, `leave` and `absorb` do anything.
    """

    # of all algorithms here; each checks those that it has
    _parameter_constraints: ClassVar[dict] = {
        "weighted": ["boolean"],
        "mu": [Interval(Real, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterov": ["boolean"],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
    }
    weighted: bool = True
    whole_batch: ClassVar[bool] = False
    has_variates: ClassVar[bool] = False

    def objective(self, objective: Objective, anchor: Sequence) -> Objective:
        """Client: what is minimised, in the graph. `anchor`: the parameters it started from."""
        return objective

    def correction(self, shared: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Client: what is added to every gradient, of shape (..., n_params)."""
        raise NotImplementedError

    def leave(
        self, shared: np.ndarray, kept: np.ndarray, delta: np.ndarray, n_steps, rate: float
    ) -> np.ndarray:
        """Client: what is kept for its next round; the change of it goes to the server."""
        raise NotImplementedError

    def server(self) -> ServerStep:
        """Server: the step that is taken along the mean of the updates."""
        return ServerStep("sgd", learning_rate=1.0)

    def absorb(self, shared: np.ndarray, change: np.ndarray, share: float) -> np.ndarray:
        """Server: `shared` after a round, from the mean change and the share of clients in it."""
        raise NotImplementedError


class Aggregator(BaseEstimator):
    """How the updates of a round become one.

    Attributes
    ----------
    is_mean : bool
        Whether `combine` is the weighted mean: then updates need not be held together.
    """

    _parameter_constraints: ClassVar[dict] = {}
    is_mean: bool = False

    def limited(self, updates: np.ndarray) -> np.ndarray:
        """Change each update for itself, of shape (n_clients, size)."""
        return updates

    def combine(self, updates: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """One update of shape (size,), from those of shape (n_clients, size) and their weights."""
        raise NotImplementedError


class Packed(NamedTuple):
    """An update on the wire: arrays by name."""

    arrays: dict[str, np.ndarray]

    @property
    def size_bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


class Communication(BaseEstimator):
    """How an update is packed on its way to the server.

    Attributes
    ----------
    error_feedback : bool
        Whether a client adds what packing lost to its next update.
    """

    _parameter_constraints: ClassVar[dict] = {}
    error_feedback: bool = True

    def pack(self, update: np.ndarray, rng: np.random.Generator) -> Packed:
        """Encode one vector."""
        raise NotImplementedError

    def unpack(self, packed: Packed, size: int) -> np.ndarray:
        """Decode a vector of `size` numbers."""
        raise NotImplementedError


@dataclass(frozen=True)
class Broadcast:
    """What the server sends to the clients of a round.

    Attributes
    ----------
    round : int
    weights : np.ndarray of float32 of shape (size,)
    shared : np.ndarray of shape (n_params,) or (0,)
    row_noise : float
        Noise multiplier of the clients' steps, where rows are hidden.
    """

    round: int
    weights: np.ndarray
    shared: np.ndarray
    row_noise: float = 0.0

    @property
    def size_bytes(self) -> int:
        """Bytes to each client."""
        return self.weights.nbytes + self.shared.nbytes


@dataclass
class Updates:
    """What clients answer: one row for each.

    Attributes
    ----------
    clients : np.ndarray of int of shape (n,)
    deltas : np.ndarray of float32 of shape (n, size)
        Weights after local training minus those before.
    n_rows, n_steps : np.ndarray of int of shape (n,)
    losses, hits : np.ndarray of float of shape (n,)
        Summed over the rows met.
    n_met : np.ndarray of int of shape (n,)
        Rows met, a row of two epochs twice.
    changes : np.ndarray of float32 of shape (n, n_params), or None
        Of control variates.
    bytes_up : np.ndarray of int of shape (n,), or None
    """

    clients: np.ndarray
    deltas: np.ndarray
    n_rows: np.ndarray
    n_steps: np.ndarray
    losses: np.ndarray
    hits: np.ndarray
    n_met: np.ndarray
    changes: np.ndarray | None = None
    bytes_up: np.ndarray | None = None

    def take(self, places) -> Updates:
        """The answers of some of them."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Updates(**{k: None if v is None else v[places] for k, v in parts.items()})

    @staticmethod
    def stacked(parts: Iterable[Updates]) -> Updates:
        """Several answers as one."""
        parts = list(parts)
        names = Updates.__dataclass_fields__
        columns = {name: [getattr(part, name) for part in parts] for name in names}
        return Updates(**{
            name: None if values[0] is None else np.concatenate(values)
            for name, values in columns.items()
        })  # fmt: skip
