"""The contract of where federated rounds run, as tests to reuse::

class TestMyEngine(EngineContract):
    def make_engine(self):
        return MyEngine()
"""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from autokit.federated import (
    FedAvg,
    FederatedEngine,
)
from autokit.testing.federations import (
    dense_network,
    federation,
    normalized_network,
    recurrent_network,
    reference,
    run,
    start,
)


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
