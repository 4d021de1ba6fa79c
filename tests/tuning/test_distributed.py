from __future__ import annotations

import json
import os
import socket
import time
import traceback

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from autokit.testing.processes import start, wait_for
from autokit.tuning import Categorical, Float, TunerSearchCV, distributed
from autokit.tuning.distributed import role

X, y = load_iris(return_X_y=True)
SPACE = {
    "C": Float(1e-3, 10.0, log=True),
    "class_weight": Categorical(["balanced", None]),
    "fit_intercept": Categorical([True, False]),
    "intercept_scaling": Categorical([1, 2.5], when={"fit_intercept": True}),
}


class Slow(LogisticRegression):
    """Waits until all workers are there; fails where there is no intercept, if told so."""

    fails = False
    place, n_workers = None, 0

    def fit(self, X, y):
        if Slow.place is not None:
            (Slow.place / f"at-work-{os.getpid()}").touch()
            give_up = time.monotonic() + 90
            while len(list(Slow.place.glob("at-work-*"))) < Slow.n_workers:
                assert time.monotonic() < give_up
                time.sleep(0.05)
        if Slow.fails and not self.fit_intercept:
            raise ArithmeticError("no intercept")
        return super().fit(X, y)


def search(tuner, n_trials, space=SPACE, **settings):
    return TunerSearchCV(
        Slow(max_iter=500),
        space,
        tuner=tuner,
        n_trials=n_trials,
        cv=2,
        pruner=None,
        random_state=0,
        **settings,
    ).fit(X, y)


def take_part(name, port, report, tuner, n_trials, fails, settings):
    os.environ |= {
        "KERASTUNER_TUNER_ID": name,
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": str(port),
    }
    Slow.fails, Slow.place, Slow.n_workers = fails, report.parent, 2
    try:
        found = search(tuner, n_trials, **settings)
        own = [[t.values, t.scores, t.status, t.error, t.worker] for t in found.trials_]
        report.write_text(json.dumps([own, found.best_score_, found.stopped_]))
    except BaseException:
        report.write_text(json.dumps(traceback.format_exc()))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def together(tmp_path, tuner, n_trials, fails=False, **settings):
    """What a chief and two workers have found."""
    names, port = ["chief", "tuner1", "tuner2"], free_port()
    given = tuner, n_trials, fails, settings
    processes = [start(take_part, name, port, tmp_path / name, *given) for name in names]
    assert wait_for(processes) == [0, 0, 0]
    return {name: json.loads((tmp_path / name).read_text()) for name in names}


def test_a_chief_and_two_workers_do_one_search(tmp_path):
    found = together(tmp_path, "random", 12)
    trials, best, _ = found["chief"]
    alone = search("random", 12)

    def key(values):
        return sorted(values.items(), key=str)

    theirs = sorted((key(values), scores) for values, scores, *_ in trials)
    ours = sorted((key(t.values), list(t.scores)) for t in alone.trials_)
    assert [values for values, _ in theirs] == [values for values, _ in ours]
    for (_, one), (_, other) in zip(theirs, ours, strict=True):
        assert [s["score"] for s in one] == pytest.approx([s["score"] for s in other])
    assert best == pytest.approx(alone.best_score_)
    own = {name: [t for t in found[name][0] if t[4] == i] for i, name in enumerate(found)}
    assert own["tuner1"] and own["tuner2"]
    assert len(own["tuner1"]) + len(own["tuner2"]) == 12
    assert {worker for *_, worker in trials} <= {1, 2}


def test_a_grid_is_shared_threads_and_failures_included(tmp_path):
    space = {"C": [0.1, 1.0, 10.0], "fit_intercept": [True, False]}
    found = together(tmp_path, "grid", None, space=space, fails=True, n_jobs=2)
    trials = found["chief"][0]
    assert len({json.dumps(values) for values, *_ in trials}) == len(trials) == 6
    for values, _, status, error, _ in trials:
        assert status == ("complete" if values["fit_intercept"] else "failed")
        assert (error is None) == values["fit_intercept"]
    assert found["tuner1"][2] == "exhausted"


def test_roles_are_those_of_keras_tuner(monkeypatch):
    assert role() is None
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(RuntimeError, match="KERASTUNER_ORACLE_PORT"):
        role()
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "my-chief")
    assert role() == "chief"
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner3")
    assert role() == "worker"
    # Optuna's tuners have no chief
    assert np.isfinite(search("tpe", 1).best_score_)


def test_a_storage_beside_the_chief_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(free_port()))
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    with pytest.raises(ValueError, match=r"'storage' parameter is not for .* chief and workers"):
        search("random", 2, storage=tmp_path / "search.db")


def test_a_chief_without_workers_ends_in_time(monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(free_port()))
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    with pytest.raises(ValueError, match=r"No trial of the workers finished"):
        search("random", 2, time_budget_s=0.5)


def test_a_worker_whose_chief_has_left_ends(monkeypatch):
    monkeypatch.setattr(distributed, "_ARRIVAL_S", 0.5)
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(free_port()))
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner1")
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"[Nn]o trial"):
        search("random", 2)
    assert time.monotonic() - started < 60
