"""The contracts of federated learning, as tests to reuse.

The package's own algorithms, aggregators and ways of communication are tested by name, with the
parameters in `SHORT`. Any other inherits its suite::

    class TestMyAlgorithm(AlgorithmContract):
        def make_algorithm(self):
            return MyAlgorithm()
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from autokit import load, save
from autokit.federated import (
    Aggregator,
    Communication,
    EmbeddedEngine,
    FederatedAlgorithm,
    FederatedTrainer,
)
from autokit.federated.engines import collector
from autokit.federated.protocols import Updates
from autokit.federated.server import Round, broadcast_of
from autokit.testing.federations import (
    assert_same,
    blobs,
    by_client,
    counted_traces,
    dense_network,
    federation,
    one_after_the_other,
    reference,
    run,
    start,
)

# Name of an algorithm -> parameters with which it learns in a few rounds.
SHORT: dict[str, dict[str, Any]] = {
    "fedadagrad": {"learning_rate": 0.3},
    "fedadam": {"learning_rate": 0.1, "epsilon": 0.1},
    "fedavgm": {"momentum": 0.5},
    "fedprox": {"mu": 0.1},
    "fedyogi": {"learning_rate": 0.1, "epsilon": 0.1},
}

_FITTED: dict[str, Any] = {}  # of one algorithm at a time


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


def _pickled(estimator):
    return pickle.loads(pickle.dumps(estimator))


def _saved(estimator):
    with tempfile.TemporaryDirectory() as folder:
        return load(save(estimator, Path(folder) / "trainer.autokit"))
