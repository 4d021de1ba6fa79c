"""Small federations, and the plain loop that says what rounds of them must give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np

from autokit._backend import keras, tf
from autokit.federated import (
    EmbeddedEngine,
    FedAvg,
    FederatedTrainer,
    Mean,
)
from autokit.federated.engines import collector, side_by_side
from autokit.federated.protocols import Federation, ServerState
from autokit.federated.schedule import batches, client_seed
from autokit.federated.weights import WeightLayout
from autokit.training import Batch, TensorBatch, seeded, task_objective, value_and_gradient


def dense_network(input_shape=(4,), n_outputs=3) -> keras.Model:
    """Two dense layers with a penalty: clients are trained side by side."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dense(n_outputs, "softmax"),
        ]
    )


def normalized_network(input_shape=(6, 6, 1), n_outputs=3) -> keras.Model:
    """A convolution with batch normalisation: clients are trained one after the other."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(n_outputs, "softmax"),
        ]
    )


def recurrent_network(input_shape=(5, 2), n_outputs=3) -> keras.Model:
    """An LSTM."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.LSTM(4, recurrent_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dense(n_outputs, "softmax"),
        ]
    )


def linear_network(input_shape=(3,), n_outputs=2) -> keras.Model:
    """Least squares."""
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(n_outputs)])


class ListedClients:
    """Clients whose encoded rows are in a list; an error in it is raised when it is read.

    Parameters
    ----------
    data : list of Batch or Exception
    """

    def __init__(self, data: list) -> None:
        self.data = data
        self.names = [f"client-{i}" for i in range(len(data))]
        self.sizes = np.array([0 if isinstance(part, Exception) else len(part) for part in data])

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, client: int) -> Batch:
        """Encoded rows of one client."""
        if isinstance(self.data[client], Exception):
            raise self.data[client]
        return self.data[client]


def federation(
    build: Callable[[], keras.Model] = dense_network,
    sizes: Sequence[int] = (13, 7, 22),
    *,
    has_weights: bool = False,
    seed: int = 0,
    **changes,
) -> Federation:
    """A federation with random rows, of unequal clients whose last batches are smaller.

    Parameters
    ----------
    build : callable
        Makes the network; without a softmax it has numbers to learn.
    sizes : sequence of int
        Rows of each client.
    has_weights : bool, default=False
        Whether all rows but those of the first client have a weight.
    seed : int, default=0
        Of weights and rows.
    **changes
        Of `Federation`.
    """
    with seeded(seed):
        model = build()
    rng = np.random.default_rng(seed)
    is_linear = build is linear_network
    data = []
    for i, n in enumerate(sizes):
        x = rng.normal(size=(n, *model.input_shape[1:])).astype(np.float32)
        y = rng.integers(0, 3, n).astype(np.int32)
        if is_linear:
            y = (x[:, :2] * (1 + i) + 0.1 * rng.normal(size=(n, 2))).astype(np.float32)
        weight = rng.uniform(0.5, 2, n).astype(np.float32) if has_weights and i else None
        data.append(Batch(x, y, weight))
    losses = keras.losses
    given = Federation(
        model=model,
        loss=losses.MeanSquaredError() if is_linear else losses.SparseCategoricalCrossentropy(),
        clients=ListedClients(data),
        algorithm=FedAvg(),
        aggregator=Mean(),
        learning_rate=0.1,
        local_epochs=1,
        batch_size=5,
        seed=3,
        layout=WeightLayout.of(model),
    )
    return replace(given, **changes)


def start(given: Federation) -> ServerState:
    """The state before the first round."""
    return ServerState(given.layout.vector(given.model))


def run(given: Federation, engine=None, n_rounds: int = 3, state=None, chosen=None) -> ServerState:
    """The state after some rounds."""
    engine = engine or EmbeddedEngine()
    chosen = np.arange(len(given.clients)) if chosen is None else np.asarray(chosen)
    with engine.open(given, state or start(given)) as running:
        for _ in range(n_rounds):
            running.round(chosen)
        return running.state


def reference(
    given: Federation, n_rounds: int = 3, state=None, chosen=None, limit=None
) -> ServerState:
    """What `run` must give, by a plain loop: one step after the other, none of it compiled.

    `limit` is what becomes of each update.
    """
    state = state or start(given)
    chosen = range(len(given.clients)) if chosen is None else chosen
    for _ in range(n_rounds):
        state = _reference_round(given, state, chosen, limit or (lambda delta: delta))
    return state


def _reference_round(given: Federation, state: ServerState, chosen, limit) -> ServerState:
    algorithm, n = given.algorithm, given.layout.n_params
    shared = state.shared if state.shared.size else np.zeros(n, np.float32)
    deltas, counts, changes, kept = [], [], [], dict(state.kept)
    for client in chosen:
        data, name = given.clients.batch(client), given.clients.names[client]
        own = kept.get(name, {}).get("variate", np.zeros(n, np.float32))
        pull = algorithm.correction(shared, own) if algorithm.has_variates else np.zeros(n)
        end, n_steps = _reference_client(given, state, client, data, pull)
        deltas.append(end - state.weights)
        counts.append(len(data) if algorithm.weighted else 1)
        if algorithm.has_variates:
            after = algorithm.leave(shared, own, deltas[-1][:n], n_steps, given.learning_rate)
            changes.append(after - own)
            kept[name] = {"variate": after}
    limited = np.stack([limit(delta) for delta in deltas])
    mean = given.aggregator.combine(limited, np.array(counts, float)).astype(np.float32)
    params, rule = given.step.apply(state.weights[:n], mean[:n], state.rule)
    if algorithm.has_variates:
        share = len(counts) / len(given.clients)
        shared = algorithm.absorb(shared, np.mean(changes, axis=0), share)
    return replace(
        state,
        weights=np.concatenate([params, state.weights[n:] + mean[n:]]),
        round=state.round + 1,
        rule=rule,
        shared=shared if algorithm.has_variates else state.shared,
        kept=kept,
    )


def _reference_client(given, state, client, data, pull) -> tuple[np.ndarray, int]:
    model, layout, algorithm = given.model, given.layout, given.algorithm
    n = layout.n_trainable
    parts = [tf.constant(part) for part in layout.arrays(state.weights)]
    anchor, statistics = parts[:n], parts[n:]
    pulls = layout.arrays(np.append(pull, np.zeros(layout.size - layout.n_params)))[:n]
    seed = client_seed(given.seed, state.round, client).astype(np.int64)
    buffers = [
        statistics[layout.statistics.index(i)]
        if i in layout.statistics
        else tf.cast(seed + [i, 0], variable.dtype)
        for i, variable in enumerate(model.non_trainable_variables)
    ]
    gradient = value_and_gradient(algorithm.objective(task_objective(model, given.loss), anchor))
    whole = algorithm.whole_batch
    steps = batches(
        given.seed,
        state.round,
        client,
        len(data),
        local_epochs=1 if whole else given.local_epochs,
        batch_size=len(data) if whole else given.batch_size,
    )
    params = anchor
    for places in steps:
        part = data.take(places)
        step, gradients = gradient(params, buffers, TensorBatch(part.x, part.y, part.weight))
        buffers = step.buffers
        params = [
            p - given.learning_rate * (g + np.float32(c))
            for p, g, c in zip(params, gradients, pulls, strict=True)
        ]
    ends = [*params, *(buffers[i] for i in layout.statistics)]
    return np.concatenate([np.ravel(end) for end in ends]), len(steps)


@contextmanager
def counted_traces() -> Iterator[list]:
    """The local trainings that are compiled meanwhile; none was before."""
    traces: list = []
    own = collector._with_rows

    def counted(*parts):
        traces.append(parts)
        return own(*parts)

    with (
        mock.patch.object(collector, "_with_rows", counted),
        mock.patch.object(collector, "_kept", type(collector._kept)()),
    ):
        yield traces


@contextmanager
def one_after_the_other() -> Iterator[None]:
    """Clients are not trained side by side, whatever the network."""
    with mock.patch.object(side_by_side, "SIDE_BY_SIDE_WEIGHTS", -1):
        yield


def blobs(n_rows: int = 150, n_clients: int = 5, seed: int = 0) -> tuple:
    """Three classes in four dimensions; each client has more of one.

    Returns
    -------
    X : np.ndarray of float32 of shape (n_rows, 4)
    y : np.ndarray of int of shape (n_rows,)
    client_ids : np.ndarray of int of shape (n_rows,)
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n_rows)
    centres = np.random.default_rng(0).normal(size=(3, 4)) * 2
    X = (centres[y] + 0.7 * rng.normal(size=(n_rows, 4))).astype(np.float32)
    client_ids = np.where(rng.random(n_rows) < 0.4, y, rng.integers(0, n_clients, n_rows))
    return X, y, client_ids


def by_client(X, y, client_ids) -> dict[str, tuple]:
    """A mapping of clients, as `FederatedTrainer.fit_clients` takes it."""
    return {f"c{k}": (X[client_ids == k], y[client_ids == k]) for k in np.unique(client_ids)}


def assert_same(first: FederatedTrainer, second: FederatedTrainer) -> None:
    """Two trainings have come to the same, bit for bit."""
    _assert_same_states(first._state, second._state)
    for a, b in zip(first.model_.get_weights(), second.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.history_ == second.history_
    assert first.n_rounds_ == second.n_rounds_


def _assert_same_states(first: ServerState, second: ServerState) -> None:
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.shared, second.shared)
    assert first.round == second.round
    assert len(first.rule) == len(second.rule)
    for a, b in zip(first.rule, second.rule, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.kept.keys() == second.kept.keys()
    for name, own in first.kept.items():
        assert own.keys() == second.kept[name].keys()
        for key, value in own.items():
            np.testing.assert_array_equal(value, second.kept[name][key])
