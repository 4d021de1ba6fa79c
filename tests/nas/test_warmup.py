from __future__ import annotations

import numpy as np
import pytest

from autokit.nas import FullTraining, ProxyGate, RandomSearch, warm_start
from autokit.nas.hardware import FeasibleSpace
from autokit.nas.search import run
from autokit.testing.nas import ToySpace


def rng(seed=0):
    return np.random.default_rng(seed)


def failing_below_zero(space):
    def evaluate(architecture, budget):
        if architecture[0] == 0:
            raise ValueError("zero is not liked")
        return space.evaluate(architecture)

    return evaluate


def test_the_best_of_the_samples_come_first():
    space = ToySpace()
    asked = []

    def evaluate(architecture, budget):
        asked.append(architecture)
        return space.evaluate(architecture)

    best = warm_start(space, evaluate, n_samples=40, n_best=5, rng=rng())
    assert len(asked) == len(set(asked)) == 40
    scores = sorted(map(space.score, asked), reverse=True)[:5]
    assert [space.score(a) for a in best] == scores


def test_it_is_determined_by_the_generator():
    space = ToySpace()
    first, again, other = (warm_start(space, space.evaluate, rng=rng(s)) for s in (0, 0, 1))
    assert first == again != other
    assert len(first) == 10


def test_a_small_space_gives_what_it_has():
    space = ToySpace(n_dimensions=1, n_values=3)
    assert len(warm_start(space, space.evaluate, rng=rng())) == 3


def test_failures_are_left_out_unless_all_fail():
    space = ToySpace()
    best = warm_start(space, failing_below_zero(space), n_best=40, rng=rng())
    assert 0 < len(best) < 50
    assert all(a[0] > 0 for a in best)

    def never(architecture, budget):
        raise ValueError("not today")

    with pytest.raises(RuntimeError, match="each of 50 random .* first error: not today"):
        warm_start(space, never, rng=rng())


def test_the_gate_lets_the_upper_share_pass():
    space = ToySpace()
    gate = ProxyGate(space, space.evaluate, quantile=0.75, n_samples=200, rng=rng())
    generator = rng(1)
    fresh = list({space.sample(generator) for _ in range(500)})
    passed = [a for a in fresh if gate(a) == 0]
    assert all(space.score(a) >= gate.threshold for a in passed)
    assert all(space.score(a) < gate.threshold for a in fresh if gate(a) > 0)
    assert 0.15 < len(passed) / len(fresh) < 0.5
    worse, worst = (1, 1, 1, 1, 0), (0, 0, 0, 0, 0)
    assert 0 < gate(worse) < gate(worst)


def test_the_gate_asks_once_for_an_architecture_and_refuses_failures():
    space = ToySpace()
    asked = []
    evaluate = failing_below_zero(space)

    def counted(architecture, budget):
        asked.append(architecture)
        return evaluate(architecture, budget)

    gate = ProxyGate(space, counted, n_samples=10, rng=rng())
    before = len(asked)
    assert gate((0, 3, 3, 3, 3)) == gate((0, 3, 3, 3, 3)) == np.inf
    assert len(asked) == before + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"quantile": 1.0}, r"quantile of ProxyGate must be in \[0, 1\)"),
     ({"n_samples": 0}, "n_samples of ProxyGate must be at least 1")],
)  # fmt: skip
def test_bad_numbers_of_the_gate_are_named(options, message):
    space = ToySpace()
    with pytest.raises(ValueError, match=message):
        ProxyGate(space, space.evaluate, rng=rng(), **options)


@pytest.mark.parametrize("name", ["n_samples", "n_best"])
def test_bad_numbers_of_the_warm_start_are_named(name):
    space = ToySpace()
    with pytest.raises(ValueError, match=f"{name} of warm_start must be at least 1"):
        warm_start(space, space.evaluate, rng=rng(), **{name: 0})


def test_a_search_starts_from_what_a_proxy_likes_and_meets_nothing_else():
    space = ToySpace()
    gate = ProxyGate(space, space.evaluate, quantile=0.5, rng=rng())
    allowed = FeasibleSpace(space, gate)
    start = warm_start(allowed, space.evaluate, n_best=3, rng=rng())
    result = run(
        allowed, RandomSearch(allowed, rng(1)), space.evaluate, schedule=FullTraining(1),
        max_trials=20, start=start,
    )  # fmt: skip
    assert [e.architecture for e in result.evaluations[:3]] == start
    assert all(gate(e.architecture) == 0 for e in result.evaluations)
