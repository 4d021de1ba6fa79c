from __future__ import annotations

import numpy as np
import pytest

from autokit.nas import Evaluation
from autokit.nas.pareto import hypervolume
from autokit.nas.strategies.bayesian import BayesianOptimization, log_expected_improvement
from autokit.testing.nas import StrategyContract, ToySpace


class TestBayesianOptimization(StrategyContract):
    n_trials = 100

    def make_strategy(self, space, rng):
        return BayesianOptimization(space, rng, n_random=20, n_mutants=5)


def test_expected_improvement_by_quadrature():
    mean, deviation, best = np.array([-1.0, 0.3, 2.0]), np.array([0.5, 1.0, 0.1]), 0.7
    z = np.linspace(-12, 12, 200_001)
    for m, d, ours in zip(
        mean, deviation, log_expected_improvement(mean, deviation, best), strict=True
    ):
        gain = np.maximum(m + d * z - best, 0.0) * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        assert ours == pytest.approx(np.log(np.trapezoid(gain, z)), rel=1e-4)


def test_expected_improvement_still_ranks_the_hopeless():
    mean = np.array([-1.0, -30.0, -38.0, -100.0, -1000.0])
    values = log_expected_improvement(mean, np.ones(5), 0.0)
    assert np.isfinite(values).all()
    assert (np.diff(values) < 0).all()


def _two_objectives(point):
    """Size against quality: each coordinate moves along the front or off it."""
    return (-float(sum(point[:3])) - abs(point[3] - 2), float(sum(point[:3])) - abs(point[4] - 2))


def test_several_objectives_fill_the_front():
    space, volumes = ToySpace(), []
    for seed in range(3):
        strategy = BayesianOptimization(space, np.random.default_rng(seed), n_initial=8)
        found = []
        for number in range(60):
            (point,) = strategy.ask(1)
            found.append(_two_objectives(point))
            strategy.tell(
                [Evaluation(number, point, found[-1][1], None, "complete", values=found[-1])]
            )
        volumes.append(hypervolume(found, (-17.0, -3.0)))
    front = [(-s, s) for s in range(13)]
    assert np.mean(volumes) > 0.9 * hypervolume(front, (-17.0, -3.0))


def test_avoids_what_violates_a_constraint():
    """The best score lies beyond the constraint; proposals must not crowd there."""
    space = ToySpace()
    strategy = BayesianOptimization(space, np.random.default_rng(0))
    violated = []
    for number in range(60):
        (point,) = strategy.ask(1)
        violation = max(0.0, sum(point) / 10 - 1)
        violated.append(violation > 0)
        status = "infeasible" if violation else "complete"
        score = None if violation else space.score(point)
        strategy.tell([Evaluation(number, point, score, None, status, violation=violation)])
    assert np.mean(violated[20:]) < np.mean(violated[:10])
    assert max(e.score for e in strategy.told.values() if e.score is not None) == -5.0


def test_a_large_history_is_cut_to_the_best_and_the_newest(monkeypatch):
    from autokit.nas.strategies import bayesian

    monkeypatch.setattr(bayesian, "MAX_ROWS", 20)
    space, rng = ToySpace(), np.random.default_rng(0)
    told = [space.evaluate(space.sample(rng), number=i) for i in range(100)]
    kept, z = bayesian._most_useful(told)
    assert len(kept) == len(z) <= 20
    assert max(told, key=lambda e: e.key) in kept
    assert kept[-10:] == told[-10:]


def test_numbers_are_checked():
    with pytest.raises(ValueError, match="rounds must be at least 1; got 0"):
        BayesianOptimization(ToySpace(), np.random.default_rng(0), rounds=0)
