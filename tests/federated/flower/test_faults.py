"""Nodes that die, hang, or whose parent does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from autokit._backend import keras
from autokit.federated import FederatedTrainer, FlowerEngine
from autokit.testing.federations import (
    federation,
    run,
    start,
)

EVERYBODY = np.arange(4)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition, seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


class Killing(keras.callbacks.Callback):
    """Kill a node after the first round."""

    def __init__(self, runs):
        super().__init__()
        self.runs = runs

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            os.kill(self.runs[0].processes[0], signal.SIGKILL)


@pytest.fixture
def runs(monkeypatch):
    """Runs that were opened, and folders that are made."""
    from autokit.federated.engines.flower.rounds import FlowerRun

    opened, init = [], FlowerRun.__init__

    def spy(self, *args, **kwargs):
        init(self, *args, **kwargs)
        opened.append(self)

    monkeypatch.setattr(FlowerRun, "__init__", spy)
    return opened


def test_a_killed_node_is_told_and_the_others_go_on(flower, runs, tmp_path, monkeypatch):
    """A SuperLink and three SuperNodes with TLS; nothing is left of them afterwards."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    y, owner = (X[:, 0] > 0).astype(int), np.arange(90) % 6
    trainer = FederatedTrainer(
        engine=FlowerEngine(n_nodes=3), n_rounds=4, random_state=0, callbacks=Killing(runs)
    )
    trainer.fit(X, y, client_ids=owner)
    clients, dropped = trainer.history_["clients"], trainer.history_["dropped"]
    assert clients[0] == [0, 1, 2, 3, 4, 5]
    assert dropped[0] == {}
    for round_clients, lost in zip(clients[1:], dropped[1:], strict=True):
        assert len(round_clients) == 4
        assert len(lost) == 2
        assert set(lost.values()) == {"its node has gone: killed by signal 9"}
    assert trainer.history_["loss"][-1] < trainer.history_["loss"][0]
    assert not any(map(is_running, runs[0].processes))
    assert list(tmp_path.iterdir()) == [home]
    assert not (home / ".flwr").exists()


def test_a_node_that_hangs_is_dropped_until_it_is_back(engine):
    given = federation(sizes=(5, 6, 7, 8))
    with engine.open(given, start(given)) as running:
        running.round(EVERYBODY)
        running.fleet.timeout_s = 1.5
        os.kill(running.processes[0], signal.SIGSTOP)
        try:
            report = running.round(EVERYBODY)
            later = running.round(EVERYBODY)
        finally:
            os.kill(running.processes[0], signal.SIGCONT)
        assert set(report.dropped.values()) == {"its node gave no answer within 1.5 s"}
        assert len(report.clients) + len(report.dropped) == 4
        assert set(later.dropped.values()) == {"its node is busy with an earlier round"}
        running.fleet.timeout_s = engine.timeout_s
        assert wait_until(lambda: running.round(EVERYBODY).clients == [0, 1, 2, 3], 30)


def test_without_nodes_the_state_is_that_of_the_last_round(engine):
    from autokit.federated.engines.flower.fleet import NoNodeLeft

    given = federation(sizes=(5, 6, 7, 8))
    with engine.open(given, start(given)) as running:
        running.round(EVERYBODY)
        weights = running.state.weights.copy()
        for pid in running.processes:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(NoNodeLeft, match=r"left after 1 rounds \(killed by signal 9\)"):
            running.round(EVERYBODY)
    assert running.state.round == 1
    np.testing.assert_array_equal(running.state.weights, weights)


def test_the_next_training_starts_them_anew(engine):
    given = federation()
    np.testing.assert_allclose(
        run(given, engine, n_rounds=1).weights, run(given, n_rounds=1).weights, atol=1e-5
    )


def test_processes_end_with_a_killed_parent(flower, tmp_path):
    program = """
        import time
        from autokit.federated.engines.flower.processes import children, free_port
        with children() as started:
            started.start("link", "superlink", ["--insecure", "--port", str(free_port())])
            print(started.pid("link"), flush=True)
            time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not is_running(child))


def test_a_node_that_cannot_start_is_quoted(flower, monkeypatch):
    from autokit.federated.engines.flower import processes

    monkeypatch.setattr(processes, "_LAUNCH", "autokit.no_such_module")
    given = federation()
    with (
        pytest.raises(ConnectionError, match="(?s)exit code 1.*no_such_module"),
        FlowerEngine().open(given, start(given)),
    ):
        pass


def test_a_superlink_that_died_is_quoted(flower, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody is there
    from autokit.federated.engines.flower.link import SUPERLINK, Link
    from autokit.federated.engines.flower.processes import children, free_port

    with children() as started:
        link = Link(started, "127.0.0.1", free_port(), None)
        with link.run():
            assert link.nodes() == set()
            os.kill(started.pid(SUPERLINK), signal.SIGKILL)
            began = time.monotonic()
            with pytest.raises(ConnectionError, match="SuperLink ended .killed by signal 9"):
                while time.monotonic() < began + 5:
                    list(link.replies({"0" * 64}))


def test_an_interrupt_leaves_no_half_message(flower):
    """A node that had the head of one would wait for its parts, and not hear that all is over."""
    from autokit.federated.engines.flower.link import Link

    class Grid:
        n_sent = 0

        def push_messages(self, messages):
            for _ in messages:
                time.sleep(0.02)
                self.n_sent += 1
            return []

    link = Link.__new__(Link)
    link.grid = Grid()
    interrupt = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # test runners ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupt.start()
            link.send([None] * 20)
    finally:
        signal.signal(signal.SIGINT, before)
    assert link.grid.n_sent == 20


def test_a_network_that_nodes_do_not_know_is_told(engine):
    @keras.saving.register_keras_serializable("tests")
    class Doubling(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    def build():
        return keras.Sequential([keras.Input((4,)), Doubling(), keras.layers.Dense(3, "softmax")])

    given = federation(build)
    engine.check(given)
    with (
        pytest.raises(ConnectionError, match="cannot take part: it could not begin.*Doubling"),
        engine.open(given, start(given)),
    ):
        pass
    del keras.saving.get_custom_objects()["tests>Doubling"]
    run(federation(), engine, n_rounds=1)  # the nodes are there as before
