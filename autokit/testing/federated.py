"""The contracts of federated learning, as tests to reuse.

The package's own algorithms, aggregators and ways of communication are tested by name, with the
parameters in `SHORT`. Any other inherits its suite::

    class TestMyAlgorithm(AlgorithmContract):
        def make_algorithm(self):
            return MyAlgorithm()

    class TestMyEngine(EngineContract):
        def make_engine(self):
            return MyEngine()
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from sklearn.base import clone

from autokit import load, save
from autokit._backend import keras, tf
from autokit.federated import (
    Aggregator,
    Communication,
    EmbeddedEngine,
    FedAvg,
    FederatedAlgorithm,
    FederatedEngine,
    FederatedTrainer,
    Mean,
)
from autokit.federated.engines import collector, side_by_side
from autokit.federated.protocols import Federation, ServerState, Updates
from autokit.federated.schedule import batches, client_seed
from autokit.federated.server import Round, broadcast_of
from autokit.federated.weights import WeightLayout
from autokit.training import Batch, TensorBatch, seeded, task_objective, value_and_gradient

# Name of an algorithm -> parameters with which it learns in a few rounds.
SHORT: dict[str, dict[str, Any]] = {
    "fedadagrad": {"learning_rate": 0.3},
    "fedadam": {"learning_rate": 0.1, "epsilon": 0.1},
    "fedavgm": {"momentum": 0.5},
    "fedprox": {"mu": 0.1},
    "fedyogi": {"learning_rate": 0.1, "epsilon": 0.1},
}

_FITTED: dict[str, Any] = {}  # of one algorithm at a time


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


def reference(given: Federation, n_rounds: int = 3, state=None, chosen=None) -> ServerState:
    """What `run` must give, by a plain loop: one step after the other, none of it compiled."""
    state = state or start(given)
    chosen = range(len(given.clients)) if chosen is None else chosen
    for _ in range(n_rounds):
        state = _reference_round(given, state, chosen)
    return state


def _reference_round(given: Federation, state: ServerState, chosen) -> ServerState:
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
    mean = given.aggregator.combine(np.stack(deltas), np.array(counts, float)).astype(np.float32)
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


class AlgorithmContract:
    """What every algorithm must keep. Set `make_algorithm`.

    Attributes
    ----------
    least : float
        Accuracy on three classes after 12 rounds.
    """

    least = 0.9

    def make_algorithm(self) -> FederatedAlgorithm:
        """A new instance of the algorithm."""
        raise NotImplementedError

    def test_is_cloned_and_searched_like_an_estimator(self):
        algorithm = self.make_algorithm()
        parameters = algorithm.get_params()
        assert clone(algorithm).set_params(**parameters).get_params() == parameters
        for name, value in parameters.items():
            searched = {f"algorithm__{name}": value}
            trainer = FederatedTrainer(algorithm=clone(algorithm))
            assert trainer.set_params(**searched).get_params().items() >= searched.items()

    def test_gives_what_a_plain_loop_gives(self):
        given = federation(
            algorithm=self.make_algorithm(), local_epochs=2, has_weights=True, seed=1
        )
        expected = reference(given)
        assert collector.Collector(given).side_by_side
        found = run(given)
        np.testing.assert_allclose(found.weights, expected.weights, atol=1e-5)
        np.testing.assert_allclose(found.shared, expected.shared, atol=1e-5)
        with one_after_the_other():
            looped = run(given)
        np.testing.assert_allclose(looped.weights, expected.weights, atol=1e-5)
        np.testing.assert_allclose(looped.shared, expected.shared, atol=1e-5)

    def test_learns_from_unlike_clients(self):
        trainer, X, y = self._fitted(), *blobs(seed=1)[:2]
        assert trainer.score(X, y) >= self.least
        assert len(trainer.history_["loss"]) == 12
        assert trainer.history_["loss"][-1] < trainer.history_["loss"][0]

    def test_one_seed_gives_one_result(self):
        assert_same(self._fitted(), self._fit())
        other = self._fit(random_state=1, n_rounds=1)
        assert other.history_["loss"][0] != self._fitted().history_["loss"][0]

    def test_goes_on_as_if_never_stopped(self):
        clients = by_client(*blobs())
        whole = self._trainer(n_rounds=4, clients_per_round=3).fit_clients(clients)
        for kept in (copy.deepcopy, _pickled, _saved):
            part = self._trainer(n_rounds=2, clients_per_round=3).fit_clients(clients)
            assert_same(kept(part).fit_clients(clients, resume=True), whole)

    def test_is_compiled_once(self):
        with counted_traces() as traces:
            for seed in range(2):
                self._fit(n_rounds=3, random_state=seed)
        assert len(traces) == 1

    def test_goes_on_without_a_client_that_is_not_finite(self):
        X, y, client_ids = blobs()
        X = X.copy()
        X[client_ids == 2] = 3e38  # float32 ends there
        trainer = self._trainer(model=dense_network, n_rounds=3).fit(X, y, client_ids=client_ids)
        assert all(set(dropped) == {2} for dropped in trainer.history_["dropped"])
        assert all(np.isfinite(weights).all() for weights in trainer.model_.get_weights())
        assert np.isfinite(trainer._state.shared).all()
        assert 2 not in trainer._state.kept

    def test_combines_with_a_robust_aggregator_and_lossy_updates(self):
        trainer = self._fit(aggregator="median", communication="quantized")
        assert trainer.score(*blobs(seed=1)[:2]) >= self.least - 0.1

    def _trainer(self, **parameters) -> FederatedTrainer:
        settings = {
            "model": dense_network,
            "algorithm": self.make_algorithm(),
            "n_rounds": 12,
            "batch_size": 10,
            "client_learning_rate": 0.3,
            "random_state": 0,
        }
        return FederatedTrainer(**(settings | parameters))

    def _fit(self, **parameters) -> FederatedTrainer:
        X, y, client_ids = blobs()
        return self._trainer(**parameters).fit(X, y, client_ids=client_ids)

    def _fitted(self) -> FederatedTrainer:
        name = f"{type(self).__name__} {self.make_algorithm()!r}"
        if name not in _FITTED:
            _FITTED.clear()
            _FITTED[name] = self._fit()
        return _FITTED[name]


class AggregatorContract:
    """What every aggregator must keep. Set `make_aggregator`.

    Attributes
    ----------
    holds : bool
        Whether 2 hostile clients of 10 cannot pull it away.
    counts_rows : bool
        Whether weights matter.
    """

    holds = True
    counts_rows = False

    def make_aggregator(self) -> Aggregator:
        """A new instance of the aggregator."""
        raise NotImplementedError

    def test_is_cloned_and_searched_like_an_estimator(self):
        aggregator = self.make_aggregator()
        parameters = aggregator.get_params(deep=False)
        assert clone(aggregator).get_params(deep=False).keys() == parameters.keys()
        trainer = FederatedTrainer(aggregator=aggregator)
        for name, value in parameters.items():
            trainer.set_params(**{f"aggregator__{name}": value})

    def test_order_of_clients_does_not_matter(self):
        updates, weights = self._updates()
        order = np.random.default_rng(1).permutation(len(updates))
        found = [self._of(updates[o], weights[o]) for o in (np.arange(len(updates)), order)]
        np.testing.assert_allclose(*found, atol=1e-6)
        assert found[0].shape == (updates.shape[1],)
        assert found[0].dtype == np.float32

    def test_leaves_its_arguments_alone(self):
        updates, weights = self._updates()
        before = updates.copy(), weights.copy()
        self._of(updates, weights)
        np.testing.assert_array_equal(updates, before[0])
        np.testing.assert_array_equal(weights, before[1])

    def test_what_all_agree_on_is_the_result(self):
        updates, weights = self._updates()
        one = updates[0] / 100
        np.testing.assert_allclose(self._of(np.tile(one, (9, 1)), weights[:9]), one, rtol=1e-5)
        np.testing.assert_allclose(self._of(one[None], weights[:1]), one, rtol=1e-5)

    def test_moves_with_the_updates(self):
        updates, weights = self._updates()
        for factor in (0.5, -1.0):
            np.testing.assert_allclose(
                self._of(np.float32(factor) * updates / 100, weights),
                np.float32(factor) * self._of(updates / 100, weights),
                rtol=1e-4,
                atol=1e-7,
            )

    def test_weights_matter_only_where_they_should(self):
        updates, weights = self._updates()
        found, even = (self._of(updates, w) for w in (weights, np.ones_like(weights)))
        assert np.allclose(found, even) != self.counts_rows

    def test_holds_against_hostile_clients(self):
        updates, weights = self._updates()
        honest = updates[2:].mean(axis=0)
        updates[:2] = -1e4
        far = np.linalg.norm(self._of(updates, np.ones_like(weights)) - honest)
        assert (far < 2.0) == self.holds

    def test_pieces_give_what_the_whole_gives(self):
        updates, weights = self._updates()
        given = replace(
            federation(sizes=(3,) * 10), aggregator=self.make_aggregator(), learning_rate=1.0
        )
        size = given.layout.size
        updates = np.resize(updates, (10, size)).astype(np.float32) * np.linspace(1, 2, size)
        updates = updates.astype(np.float32)
        ends = []
        for n_pieces in (1, 3):
            state = start(given)
            gathered = Round(given, state, broadcast_of(given, state))
            for places in np.array_split(np.arange(10), n_pieces):
                gathered.add(_answers(places, updates[places], weights[places]), [{}] * len(places))
            ends.append(gathered.finish()[0].weights)
        np.testing.assert_allclose(*ends, rtol=1e-5, atol=1e-6)
        moved = start(given).weights + self._of(updates, weights)
        np.testing.assert_allclose(ends[0], moved, rtol=1e-4, atol=1e-5)

    def _of(self, updates, weights) -> np.ndarray:
        aggregator = self.make_aggregator()
        return aggregator.combine(aggregator.limited(updates.copy()), weights)

    def _updates(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        updates = (1.0 + 0.1 * rng.normal(size=(10, 7))).astype(np.float32)
        return updates, rng.integers(1, 50, 10).astype(float)


def _answers(clients, deltas, n_rows) -> Updates:
    ones = np.ones(len(clients))
    return Updates(
        clients=clients,
        deltas=deltas,
        n_rows=n_rows.astype(int),
        n_steps=ones.astype(int),
        losses=ones,
        hits=ones,
        n_met=n_rows.astype(int),
    )


class CommunicationContract:
    """What every way to pack updates must keep. Set `make_communication`."""

    def make_communication(self) -> Communication:
        """A new instance."""
        raise NotImplementedError

    def test_is_cloned_and_searched_like_an_estimator(self):
        way = self.make_communication()
        parameters = way.get_params()
        assert clone(way).set_params(**parameters).get_params() == parameters
        trainer = FederatedTrainer(communication=way)
        for name, value in parameters.items():
            trainer.set_params(**{f"communication__{name}": value})

    def test_is_smaller_and_of_the_same_size_after(self):
        for size in (1, 2, 7, 1000, 3001):
            update = self._update(size)
            packed = self._packed(update)
            assert all(isinstance(a, np.ndarray) for a in packed.arrays.values())
            assert packed.size_bytes == sum(a.nbytes for a in packed.arrays.values())
            found = self.make_communication().unpack(packed, size)
            assert found.shape == (size,)
            assert found.dtype == np.float32
            assert np.isfinite(found).all()
            if size >= 1000:
                assert packed.size_bytes < update.nbytes

    def test_the_generator_decides(self):
        update = self._update(500)
        first, again = (self._packed(update).arrays for _ in range(2))
        for name, array in first.items():
            np.testing.assert_array_equal(array, again[name])

    def test_nothing_stays_nothing(self):
        zeros = np.zeros(100, np.float32)
        found = self.make_communication().unpack(self._packed(zeros), 100)
        np.testing.assert_array_equal(found, zeros)

    def test_with_feedback_all_arrives_in_the_end(self):
        way, rng = self.make_communication(), np.random.default_rng(0)
        residual = np.zeros(200, np.float32)
        true, sent = np.zeros(200), np.zeros(200)
        for i in range(100):
            update = self._update(200, seed=i)
            true += update
            packed = way.pack(update + residual, rng)
            found = way.unpack(packed, 200)
            residual = update + residual - found
            sent += found
        np.testing.assert_allclose(sent + residual, true, atol=1e-3)
        assert np.linalg.norm(true - sent) < 0.5 * np.linalg.norm(true)

    def test_bytes_are_those_of_the_arrays(self):
        way = self.make_communication()
        given = federation(communication=way)
        with EmbeddedEngine().open(given, start(given)) as running:
            report = running.round(np.arange(3))
        rng = np.random.default_rng(0)
        one = way.pack(rng.normal(size=given.layout.size).astype(np.float32), rng).size_bytes
        assert report.bytes_up == 3 * one
        assert report.bytes_down == 3 * 4 * given.layout.size

    def test_learns(self):
        X, y, client_ids = blobs()
        trainer = FederatedTrainer(
            dense_network,
            communication=self.make_communication(),
            n_rounds=15,
            batch_size=10,
            client_learning_rate=0.3,
            random_state=0,
        ).fit(X, y, client_ids=client_ids)
        assert trainer.score(*blobs(seed=1)[:2]) > 0.85

    def _update(self, size: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return (0.3 + rng.normal(size=size)).astype(np.float32)

    def _packed(self, update):
        return self.make_communication().pack(update, np.random.default_rng(0))


class EngineContract:
    """What every engine must keep. Set `make_engine`.

    Attributes
    ----------
    networks : tuple of callable
    """

    networks: tuple = (dense_network, normalized_network, recurrent_network)

    def make_engine(self) -> FederatedEngine:
        """A new instance of the engine."""
        raise NotImplementedError

    def test_is_cloned_and_searched_like_an_estimator(self):
        engine = self.make_engine()
        assert clone(engine).get_params() == engine.get_params()

    def test_gives_what_a_plain_loop_gives(self):
        for build in self.networks:
            for weighted in (True, False):
                given = federation(build, algorithm=FedAvg(weighted=weighted))
                self.make_engine().check(given)
                found = run(given, self.make_engine())
                np.testing.assert_allclose(found.weights, reference(given).weights, atol=1e-5)
                assert found.round == 3

    def test_goes_on_from_a_state(self):
        given = federation()
        half = run(given, self.make_engine(), n_rounds=1)
        before = half.weights.copy()
        both = run(given, self.make_engine(), n_rounds=2, state=half)
        np.testing.assert_allclose(both.weights, run(given, self.make_engine()).weights, atol=1e-6)
        np.testing.assert_array_equal(half.weights, before)

    def test_trains_those_that_are_chosen(self):
        given = federation(sizes=(8, 8, 8, 8))
        found = run(given, self.make_engine(), n_rounds=2, chosen=[1, 3])
        expected = reference(given, n_rounds=2, chosen=[1, 3])
        np.testing.assert_allclose(found.weights, expected.weights, atol=1e-5)

    def test_reports_what_happened(self):
        given = federation()
        with self.make_engine().open(given, start(given)) as running:
            report = running.round(np.array([0, 2]))
        assert report.clients == [0, 2]
        assert report.dropped == {}
        assert 0 < report.loss < 10
        assert 0 <= report.score <= 1
        assert report.bytes_down >= 2 * 4 * given.layout.size
        assert report.bytes_up >= 2 * 4 * given.layout.size

    def test_goes_on_without_a_client_that_cannot_be_read(self):
        given = federation()
        given.clients.data[1] = OSError("the disk is gone")
        with self.make_engine().open(given, start(given)) as running:
            report = running.round(np.arange(3))
        assert report.clients == [0, 2]
        assert "the disk is gone" in report.dropped[1]
        expected = reference(given, n_rounds=1, chosen=[0, 2])
        np.testing.assert_allclose(running.state.weights, expected.weights, atol=1e-5)

    def test_leaves_the_model_alone(self):
        given = federation()
        before = given.model.get_weights()
        run(given, self.make_engine(), n_rounds=1)
        for a, b in zip(before, given.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def _pickled(estimator):
    return pickle.loads(pickle.dumps(estimator))


def _saved(estimator):
    with tempfile.TemporaryDirectory() as folder:
        return load(save(estimator, Path(folder) / "trainer.autokit"))
