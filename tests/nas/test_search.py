from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from autokit.nas import (
    Evaluation,
    FullTraining,
    RandomSearch,
    RegularizedEvolution,
    SearchFailed,
    SearchStorage,
    SuccessiveHalving,
)
from autokit.nas.search import run, trial_seed
from autokit.testing.nas import ToySpace


def _run(evaluator=None, *, space=None, strategy=RegularizedEvolution, seed=0, **options):
    space = space or ToySpace()
    options = {"schedule": FullTraining(1), "seed": seed, **options}
    rng = np.random.default_rng(seed)
    return run(space, strategy(space, rng), evaluator or space.evaluate, **options)


def _untimed(result):
    return [dataclasses.replace(e, seconds=0.0) for e in result.evaluations]


def test_asks_evaluates_tells_until_max_trials():
    result = _run(max_trials=25)
    assert [e.number for e in result.evaluations] == list(range(25))
    assert result.stopped == "max_trials"
    assert result.best.score == max(e.score for e in result.evaluations)


def test_start_comes_first_and_is_told():
    space = ToySpace()
    result = _run(space=space, max_trials=3, start=[space.best])
    assert result.evaluations[0].architecture == space.best


def test_no_architecture_is_evaluated_twice():
    calls = []

    class Stuck(RandomSearch):
        def ask(self, n):
            return [(0, 0, 0, 0, len(calls) // 3)] * n

    def evaluator(architecture, budget):
        calls.append(architecture)
        return ToySpace().evaluate(architecture)

    result = _run(evaluator, strategy=Stuck, max_trials=5, n_jobs=3)
    assert result.stopped == "exhausted"
    assert len(calls) == len(set(calls)) == len(result.evaluations) == 1


def test_an_exhausted_space_ends_the_search():
    result = _run(space=ToySpace(2, 3), max_trials=100)
    assert result.stopped == "exhausted"
    assert len(result.evaluations) == 9


def test_seeds_of_trials_are_their_own():
    seeds = []
    _run(lambda a, b: seeds.append(b.seed) or ToySpace().evaluate(a), max_trials=5, seed=7)
    assert seeds == [trial_seed(7, i) for i in range(5)]
    assert len(set(seeds)) == 5
    assert trial_seed(8, 0) != trial_seed(7, 0)


def test_failures_are_recorded_and_the_search_goes_on():
    def evaluator(architecture, budget):
        if sum(architecture) % 2:
            raise ValueError("odd\nsecond line")
        return ToySpace().evaluate(architecture)

    result = _run(evaluator, max_trials=20)
    failed = [e for e in result.evaluations if e.status == "failed"]
    assert 0 < len(failed) < 20
    assert {e.error for e in failed} == {"ValueError: odd second line"}
    assert result.best.status == "complete"


@pytest.mark.parametrize("max_trials, n_tried", [(3, 3), (50, 10)])
def test_if_all_fail_the_first_cause_is_told(max_trials, n_tried):
    def evaluator(architecture, budget):
        raise MemoryError("too big")

    with pytest.raises(
        SearchFailed, match=f"all {n_tried} trials .* MemoryError: too big"
    ) as caught:
        _run(evaluator, max_trials=max_trials)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_an_interrupt_keeps_what_there_is(n_jobs):
    done = []

    def evaluator(architecture, budget):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(architecture)
        return ToySpace().evaluate(architecture)

    result = _run(evaluator, max_trials=50, n_jobs=n_jobs)
    assert result.stopped == "interrupted"
    assert 3 <= len(result.evaluations) <= 4


def test_an_interrupt_before_the_first_result_is_passed_on():
    def evaluator(architecture, budget):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(evaluator, max_trials=5)


def _slow(architecture, budget):
    time.sleep(0.002 * (sum(architecture) % 5))
    return ToySpace().evaluate(architecture)


def test_threads_do_not_change_the_result():
    first, again = (_run(_slow, max_trials=31, n_jobs=4) for _ in range(2))
    assert _untimed(first) == _untimed(again)


def test_threads_run_at_the_same_time():
    together = threading.Barrier(3, timeout=5)

    def evaluator(architecture, budget):
        together.wait()
        return ToySpace().evaluate(architecture)

    assert len(_run(evaluator, max_trials=6, n_jobs=3).evaluations) == 6


def _learning(architecture, budget):
    """A candidate whose score grows with the epochs, and that obeys the rung rule."""
    rungs = []
    status = "complete"
    for epoch in range(1, budget.epochs + 1):
        rungs.append((epoch, ToySpace().score(architecture) - 1.0 / epoch))
        if not budget.keep_on(*rungs[-1]):
            status = "pruned"
            break
    score = rungs[-1][1]
    return Evaluation(-1, architecture, score, -score, status, len(rungs), rungs=tuple(rungs))


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_rungs_end_bad_trials_early(n_jobs):
    schedule = SuccessiveHalving(9, 3, 1)
    result = _run(_learning, strategy=RandomSearch, max_trials=40, n_jobs=n_jobs, schedule=schedule)
    epochs = [e.epochs for e in result.evaluations]
    assert epochs[0] == 9
    assert sum(epochs) < 0.6 * 9 * 40
    assert 0.4 < result.pruned_share < 1
    assert result.best.status == "complete"


def test_the_rung_rule_sees_told_evaluations_only():
    """In a round of three nobody is compared with the two beside it."""
    result = _run(_learning, max_trials=3, n_jobs=3, schedule=SuccessiveHalving(9, 3, 1))
    assert [e.status for e in result.evaluations] == ["complete"] * 3


def test_time_ends_the_search_and_leaves_the_reserve():
    def evaluator(architecture, budget):
        time.sleep(0.05)
        return ToySpace().evaluate(architecture)

    started = time.monotonic()
    result = _run(evaluator, deadline=started + 1.0, reserve=lambda told: 0.5)
    assert result.stopped == "time_budget"
    assert 0.3 < time.monotonic() - started < 0.6


def test_one_trial_is_run_even_if_the_deadline_is_over():
    result = _run(deadline=time.monotonic() - 1)
    assert len(result.evaluations) == 1


def test_a_hopeless_trial_times_out_once_there_is_an_incumbent():
    clocks = []

    def hopeless(clock):
        clocks.append(len(clock))
        return len(clock) == 4

    deadline = time.monotonic() + 100
    result = _run(
        _learning, deadline=deadline, hopeless=hopeless, max_trials=3, schedule=FullTraining(5)
    )
    assert [e.status for e in result.evaluations] == ["complete", "timeout", "timeout"]
    assert [e.epochs for e in result.evaluations] == [5, 3, 3]
    assert clocks == [2, 3, 4, 2, 3, 4]


@pytest.mark.parametrize("n_jobs", [1, 3])
@pytest.mark.parametrize("n_before", [1, 7, 15])
def test_a_resumed_search_is_the_uninterrupted_one(tmp_path, n_before, n_jobs):
    options = {"n_jobs": n_jobs, "schedule": SuccessiveHalving(9, 3, 1)}
    whole = _run(_learning, max_trials=30, **options)
    calls = []

    def evaluator(architecture, budget):
        calls.append(architecture)
        if len(calls) > n_before:
            raise KeyboardInterrupt
        return _learning(architecture, budget)

    path = tmp_path / "x.journal"
    with contextlib.suppress(KeyboardInterrupt):
        _run(evaluator, max_trials=30, storage=SearchStorage(path, {}), **options)
    storage = SearchStorage(path, {})
    n_stored = len(storage.evaluations)
    assert 0 < n_stored <= n_before or n_jobs == 3
    calls.clear()

    def counted(architecture, budget):
        calls.append(architecture)
        return _learning(architecture, budget)

    again = _run(counted, max_trials=30, storage=storage, **options)
    assert _untimed(again) == _untimed(whole)
    assert len(calls) == 30 - n_stored


CHILD = """
import sys, time
import numpy as np
from autokit.nas import Evaluation, FullTraining, RandomSearch, SearchStorage
from autokit.nas.search import run

class Space:
    def sample(self, rng):
        return tuple(int(v) for v in rng.integers(100, size=4))

def evaluate(architecture, budget):
    time.sleep(0.003)
    return Evaluation(-1, architecture, float(sum(architecture)), 0.0, "complete", 1)

class Told(SearchStorage):
    def write(self, evaluation):
        super().write(evaluation)
        print(evaluation.number, flush=True)

storage = Told(sys.argv[1], {"a": 1})
print("found", *sorted(e.number for e in storage.evaluations), flush=True)
space = Space()
run(space, RandomSearch(space, np.random.default_rng(0)), evaluate,
    schedule=FullTraining(1), max_trials=400, storage=storage)
print("done", flush=True)
"""


def test_no_finished_trial_is_lost_to_a_kill(tmp_path):
    path, rng = tmp_path / "x.journal", np.random.default_rng(0)
    finished, kills, lines = set(), 0, []
    while "done" not in lines:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        )
        lines = [child.stdout.readline().strip()]
        found = {int(n) for n in lines[0].split()[1:]}
        assert finished <= found, "a trial that was reported as written is gone"
        if kills < 4:
            time.sleep(rng.uniform(0.05, 0.3))
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        lines += child.communicate()[0].split("\n")
        finished |= {int(n) for n in lines if n.isdigit()}
    assert finished <= set(range(400))
    numbers = [e.number for e in SearchStorage(path, {"a": 1}).evaluations]
    assert sorted(numbers) == list(range(400))
