"""Several processes on one search, and processes that are killed."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import subprocess
import time

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from autokit.testing.processes import start
from autokit.tuning import Int, TunerSearchCV
from autokit.tuning.storage import TuningStorage

N_TRIALS = 24


def searching(**settings):
    space = {"max_depth": Int(1, 9), "min_samples_leaf": Int(1, 40)}
    settings = {"n_trials": N_TRIALS, "cv": 3, "random_state": 0, "pruner": None} | settings
    return TunerSearchCV(DecisionTreeClassifier(), space, **settings)


def work(path, n_trials, fit_s, pipe):
    """A search in a process of its own that tells what it has written."""
    fit, write, begin = DecisionTreeClassifier.fit, TuningStorage.write, TuningStorage.begin

    def slow(tree, *args, **kwargs):
        time.sleep(fit_s)
        return fit(tree, *args, **kwargs)

    def told(storage, trial, frozen):
        write(storage, trial, frozen)
        pipe.send(["written", trial.values])

    def begun(storage, n_trials):
        is_left = begin(storage, n_trials)
        if is_left:
            pipe.send(["begun", None])
        return is_left

    DecisionTreeClassifier.fit = slow
    TuningStorage.write, TuningStorage.begin = told, begun
    pipe.send(["ready", None])
    pipe.recv()
    search = searching(n_trials=n_trials, storage=path).fit(*load_iris(return_X_y=True))
    rows = [[t.number, t.values, list(t.scores)] for t in search.trials_]
    pipe.send(["table", [search.best_params_, rows]])


class Worker:
    def __init__(self, stack, path, n_trials=N_TRIALS, fit_s=0.01):
        self.pipe, other = multiprocessing.Pipe()
        self.process = start(work, path, n_trials, fit_s, other)
        other.close()
        stack.callback(self.process.kill)
        self.written, self.table = [], None

    def ready(self):
        assert self.pipe.recv()[0] == "ready"
        return self

    def go(self):
        self.pipe.send("go")

    def read(self):
        kind, content = self.pipe.recv()
        if kind == "written":
            self.written.append(content)
        elif kind == "table":
            self.table = content
        return kind

    def read_written(self):
        while self.read() != "written":
            pass

    def kill(self):
        self.process.kill()
        self.finish()

    def finish(self):
        with contextlib.suppress(EOFError):
            while True:
                self.read()
        self.process.join(60)


def rows(table):
    return sorted(json.dumps(row[1:]) for row in table[1])


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(params=["journal", "sqlite"])
def path(tmp_path, request):
    return tmp_path / "x" if request.param == "journal" else f"sqlite:///{tmp_path}/x.db"


def test_together_they_do_the_trials_once_and_end_with_one_table(stack, path):
    workers = [Worker(stack, path) for _ in range(3)]
    for worker in workers:
        worker.ready()
    for worker in workers:
        worker.go()
    for worker in workers:
        worker.finish()
        assert worker.process.exitcode == 0
    written = [worker.written for worker in workers]
    assert sum(map(len, written)) == N_TRIALS, "together, and not one more"
    assert min(map(len, written)) >= 3, "all three took part"
    tables = [rows(worker.table) for worker in workers]
    assert len(tables[0]) == N_TRIALS and tables[0] == tables[1] == tables[2]
    # points of the random beginning are drawn from seeds of their own in each process
    first = [json.dumps(values[:2]) for values in written]
    assert len(set(first)) == 3


def test_trials_of_a_dead_process_are_done_by_the_other(stack, tmp_path):
    path = tmp_path / "x"
    victim = Worker(stack, path, fit_s=0.3).ready()
    victim.go()
    victim.read_written()
    other = Worker(stack, path, fit_s=0.01).ready()
    other.go()
    other.read_written()
    victim.kill()
    other.finish()
    known = rows(other.table)
    assert len(known) == N_TRIALS
    assert len(victim.written) + len(other.written) == N_TRIALS
    values = [json.loads(row)[0] for row in known]
    assert all(v in values for v in victim.written)


def test_the_last_trial_of_another_is_waited_for_and_taken_over(stack, tmp_path):
    path = tmp_path / "x"
    slow = Worker(stack, path, n_trials=4, fit_s=60.0).ready()
    slow.go()
    assert slow.read() == "begun"
    quick = Worker(stack, path, n_trials=4).ready()
    quick.go()
    while len(quick.written) < 3:
        quick.read()
    time.sleep(0.3)
    assert not quick.pipe.poll(), "waits for the fourth"
    slow.kill()
    quick.finish()
    assert len(quick.written) == len(quick.table[1]) == 4


def test_nothing_finished_is_lost_to_kills_and_the_table_is_that_of_a_whole_search(stack, tmp_path):
    path, rng, written = tmp_path / "x", np.random.default_rng(0), []
    for _ in range(3):
        worker = Worker(stack, path, fit_s=0.02).ready()
        worker.go()
        worker.read_written()
        time.sleep(rng.uniform(0, 0.3))
        worker.kill()
        written += worker.written
    last = Worker(stack, path, fit_s=0.0).ready()
    last.go()
    last.finish()
    table = last.table
    stored = [row[1] for row in table[1]]
    assert len(written) >= 3 and all(values in stored for values in written)
    expected = searching().fit(*load_iris(return_X_y=True))
    assert table[1] == [[t.number, t.values, list(t.scores)] for t in expected.trials_]
    assert table[0] == expected.best_params_


def test_announcements_count_while_their_process_lives(path, monkeypatch):
    mine, other = TuningStorage(path, {}), TuningStorage(path, {})
    assert other.begin(2)
    assert mine.n_running_elsewhere() == 0, "of this process: gone, or mine"
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    mine = TuningStorage(path, {})
    assert mine.worker > 0
    assert mine.n_running_elsewhere() == 1 and mine.n_running_elsewhere(here=True) == 0
    assert mine.begin(2) and not mine.begin(2)
    mine.give_up()
    assert mine.begin(2)
    other.close()
    assert mine.n_running_elsewhere() == 0 and mine.begin(2) and not mine.begin(2)


def test_of_another_machine_an_announcement_wears_off(tmp_path, monkeypatch):
    now = time.time()
    other = TuningStorage(tmp_path / "x", {})
    monkeypatch.setattr(time, "time", lambda: now)
    assert other.begin(2)
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    mine = TuningStorage(tmp_path / "x", {})
    assert mine.n_running_elsewhere() == 1
    now += 601
    assert mine.n_running_elsewhere() == 0


def test_a_number_given_to_another_process_is_no_sign_of_life(tmp_path):
    path = tmp_path / "x"
    gone = TuningStorage(path, {})
    assert gone.begin(5)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        gone._study.tell(pid=stranger.pid)  # and born when this process was
        storage = TuningStorage(path, {})
        assert storage.worker == 0 and storage.n_running_elsewhere() == 0
        stranger.kill()
