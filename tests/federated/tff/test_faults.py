"""What happens if processes die."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from autokit.federated.engines.tff import EngineDied, TFFEngine
from autokit.federated.steps import ServerStep
from autokit.testing.federations import federation, linear_network, start

pytestmark = pytest.mark.slow

EVERYBODY = np.arange(3)


def members(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(folder.name))
    return found


def wait_until_ended(group: int) -> bool:
    deadline = time.monotonic() + 10
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not members(group)


@contextlib.contextmanager
def killed_after(seconds: float, pid: int):
    timer = threading.Timer(seconds, os.kill, (pid, signal.SIGKILL))
    timer.start()
    yield
    timer.join()


def test_a_killed_worker_is_started_again_and_nothing_is_lost(tff_python):
    given = federation(linear_network, server_step=ServerStep("adam", learning_rate=0.1))
    with TFFEngine().open(given, start(given)) as run:
        undisturbed = []
        for _ in range(3):
            run.round(EVERYBODY)
            undisturbed.append(run.state)
        first_group = run.worker_pid
        assert len(members(first_group)) == 2  # the worker and its executor
        run.state = undisturbed[0]
        # the first round of a worker is traced, which takes longer than this
        run._is_open = False
        with killed_after(0.3, first_group):
            run.round(EVERYBODY)
        assert run.worker_pid != first_group
        assert wait_until_ended(first_group)
        assert run.cpu_seconds() > 2
        for state in undisturbed[1:]:
            np.testing.assert_array_equal(run.state.weights, state.weights)
            run.round(EVERYBODY)

        # its executor alone
        second_group = run.worker_pid
        (executor,) = set(members(second_group)) - {second_group}
        run.state = undisturbed[0]
        os.kill(executor, signal.SIGKILL)
        run.round(EVERYBODY)
        np.testing.assert_array_equal(run.state.weights, undisturbed[1].weights)

        # and a worker that dies whenever it is asked
        def dies(*args, **header):
            os.kill(run.worker_pid, signal.SIGKILL)
            return ask(*args, **header)

        folder, groups, before = run._folder, set(), run.state
        ask, run._worker.ask = run._worker.ask, dies
        engine = sys.modules[TFFEngine.__module__]
        real = engine.Worker

        def mortal(python):
            worker = real(python)
            groups.add(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)
            return worker

        groups.add(run.worker_pid)
        engine.Worker = mortal
        try:
            with pytest.raises(EngineDied, match="round 3: .*SIGKILL.*(?s:.*)started again once"):
                run.round(EVERYBODY)
        finally:
            engine.Worker = real
        assert run.state is before
        assert all(map(wait_until_ended, groups)) and len(groups) == 2
        run.round(EVERYBODY)
        np.testing.assert_array_equal(run.state.weights, undisturbed[2].weights)
        last_group = run.worker_pid
    assert not members(last_group)
    assert not folder.exists()


def test_the_worker_does_not_outlive_the_process_that_started_it(tff_python):
    code = f"""
        import os, sys, time
        from autokit.federated.engines.tff.process import Worker
        worker = Worker({os.fspath(tff_python)!r})
        print(worker.pid, flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as parent:
        group = int(parent.stdout.readline())
        assert members(group)
        parent.kill()
        assert parent.stdout.read() == ""  # nobody holds its output open
    assert wait_until_ended(group)


def test_rows_that_do_not_fit_on_the_disk_leave_nothing(tff_python, monkeypatch, lent_worker):
    given = federation(linear_network)
    with TFFEngine().open(given, start(given)) as run:
        run.round(EVERYBODY[:1])
        before = run.state
        Path(f"{run._rows.path(1)}.targets").symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left on device.*TMPDIR"):
            run.round(EVERYBODY)
        assert run.state is before
        folder = run._folder
        assert not list(folder.glob("1.*"))
        run.round(EVERYBODY)  # now it fits
    assert not folder.exists()


def test_an_interpreter_without_tff_is_told_of(tmp_path):
    fake = tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.symlink_to(sys.executable)
    given = federation(linear_network)
    with (
        pytest.raises(EngineDied, match="does not start.*tensorflow.*autokit tff check"),
        TFFEngine(environment=tmp_path).open(given, start(given)),
    ):
        pass
