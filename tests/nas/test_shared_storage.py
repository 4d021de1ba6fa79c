"""Several processes on one search."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
import time

import numpy as np
import pytest

from autokit.nas import FullTraining, LocalSearch, RandomSearch, SearchStorage
from autokit.nas.search import run
from autokit.testing.nas import ToySpace

N_TRIALS = 60
WORKER = """
import sys, time
import numpy as np
from autokit.nas import Evaluation, FullTraining, RegularizedEvolution, SearchStorage
from autokit.nas.search import run

class Space:
    def sample(self, rng):
        return tuple(int(v) for v in rng.integers(10, size=6))

    def mutate(self, architecture, rng):
        at = int(rng.integers(6))
        return (*architecture[:at], int(rng.integers(10)), *architecture[at + 1 :])

class Told(SearchStorage):
    def write(self, evaluation):
        super().write(evaluation)
        print("written", *evaluation.architecture, flush=True)

def evaluate(architecture, budget):
    time.sleep(0.03)
    return Evaluation(-1, architecture, float(sum(architecture)), 0.0, "complete", 1)

path, n_trials = sys.argv[1], int(sys.argv[2])
storage = Told(path, {"data": "toy"})
print("worker", storage.worker, flush=True)
sys.stdin.readline()
space = Space()
strategy = RegularizedEvolution(space, np.random.default_rng(storage.worker))
result = run(space, strategy, evaluate, schedule=FullTraining(1), max_trials=n_trials,
             storage=storage)
storage.close()
print("told", *("".join(map(str, e.architecture)) for e in result.evaluations), flush=True)
"""


def _start(path):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(N_TRIALS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_three_processes_share_a_search_and_one_of_them_dies(tmp_path, kind):
    path = tmp_path / "x.journal" if kind == "journal" else f"sqlite:///{tmp_path}/x.db"
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_start(path))]
        assert workers[0].stdout.readline().split() == ["worker", "0"]
        workers += [stack.enter_context(_start(path)) for _ in range(2)]
        assert all(int(w.stdout.readline().split()[1]) > 0 for w in workers[1:])
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        victim = workers[2]
        last_words = [victim.stdout.readline() for _ in range(5)]
        victim.kill()
        outputs = [w.communicate(timeout=120)[0].splitlines() for w in workers]
    outputs[2] = last_words + outputs[2]

    written = [[tuple(map(int, line.split()[1:])) for line in lines if line.startswith("written")]
               for lines in outputs]  # fmt: skip
    found = [tuple(e.architecture) for e in SearchStorage(path, {"data": "toy"}).evaluations]
    assert set(sum(written, [])) <= set(found), "a finished trial is gone"
    assert N_TRIALS <= len(found) <= N_TRIALS + 2, "each may be at one trial more, no further"
    assert min(map(len, written)) >= 5, "all three took part"
    told = [set(lines[-1].split()[1:]) for lines in outputs[:2]]
    for mine, others in ((written[0], told[1]), (written[1], told[0])):
        names = {"".join(map(str, a)) for a in mine}
        assert len(names - others) <= 2, "what one has finished, the other was told"


def _run(storage, n_trials, seed=0, strategy=RandomSearch):
    space = ToySpace()
    made = strategy(space, np.random.default_rng(seed))
    options = {"schedule": FullTraining(1), "max_trials": n_trials, "storage": storage}
    return run(space, made, space.evaluate, **options)


@pytest.fixture(params=["journal", "sqlite"])
def path(tmp_path, request):
    return tmp_path / "x" if request.param == "journal" else f"sqlite:///{tmp_path}/x.db"


def test_what_another_search_of_the_storage_has_finished_counts(path):
    _run(SearchStorage(path, {}), 10)
    result = _run(SearchStorage(path, {}), 15, seed=1)
    assert [e.number for e in result.evaluations] == list(range(len(result.evaluations)))
    assert 15 <= len(result.evaluations) <= 16
    assert len({e.architecture for e in result.evaluations}) == len(result.evaluations)


def test_the_database_resumes_like_the_file(path):
    whole = _run(None, 20, strategy=LocalSearch)
    _run(SearchStorage(path, {}), 12, strategy=LocalSearch)
    again = _run(SearchStorage(path, {}), 20, strategy=LocalSearch)
    untimed = [[dataclasses.replace(e, seconds=0) for e in r.evaluations] for r in (whole, again)]
    assert untimed[0] == untimed[1]


def test_a_process_that_is_gone_is_not_waited_for(tmp_path):
    path = tmp_path / "x.journal"
    code = "import os, sys; from autokit.nas import SearchStorage\n"
    code += (
        "print(SearchStorage(sys.argv[1], {}).worker); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    process = subprocess.run([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert process.stdout.strip() == b"0"
    started = time.monotonic()
    assert SearchStorage(path, {}).worker == 0
    assert time.monotonic() - started < 5


def test_one_at_work_elsewhere_makes_the_next_a_joiner(path, monkeypatch):
    storage = SearchStorage(path, {})
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert SearchStorage(path, {}).worker > 0
    storage.close()
    joiner = SearchStorage(path, {})
    assert joiner.worker == 0, "whoever took leave is gone"


def test_a_database_that_cannot_be_opened_is_one_line():
    with pytest.raises(ValueError, match="'storage' parameter .* cannot be opened") as caught:
        SearchStorage("sqlite:////no/such/folder/x.db", {})
    assert "\n" not in str(caught.value)
