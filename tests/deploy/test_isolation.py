"""Jobs that end well, fail, crash, hang, or lose their worker; and who may ask for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.deploy import isolation, quantizers
from autokit.deploy.convert import Conversion, Part, _write_inputs, convert, trace
from autokit.deploy.isolation import Crashed, Job
from autokit.deploy.proof import ExportError


def _part():
    return Part(lambda t: {"y": t["x"] * 2.0}, {"x": ((3,), "float32")}, [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("job")
    _write_inputs(path, Conversion(trace(_part()), []))
    return path


@pytest.fixture
def looping(tmp_path):
    """A folder with a loop to calibrate: it ends the process that tries."""
    layer = keras.layers.LSTM(3)
    layer.build((None, 5, 2))
    part = Part(
        lambda t: {"y": layer(t["x"])},
        {"x": ((5, 2), "float32")},
        [variable.value for variable in layer.variables],
    )
    rows = np.ones((40, 5, 2), np.float32)
    return Conversion(trace(part, 1), part.variables, "int8", {"x": rows})


def _request(folder, **options):
    return {"job": "convert", "folder": str(folder), **options}


def _works(folder):
    (folder / quantizers.FILE).unlink(missing_ok=True)
    with Job(_request(folder)) as job:
        job.wait()
    return (folder / quantizers.FILE).read_bytes()[4:8] == b"TFL3"


def test_an_error_comes_back_with_its_message(folder, tmp_path):
    with Job(_request(tmp_path)) as job, pytest.raises(RuntimeError, match="does not exist"):
        job.wait()
    with Job(_request(folder, quantization="int3")) as job, pytest.raises(RuntimeError, match="3"):
        job.wait()


def test_a_crash_is_an_error_and_the_next_job_works(folder, looping):
    with pytest.raises(ExportError, match="crashed TensorFlow.s converter .*SIG(SEGV|ABRT)"):
        convert(looping.concrete, looping.variables, "int8", rows=looping.rows)
    assert _works(folder)


def test_a_job_that_takes_too_long_is_ended(folder):
    start = time.monotonic()
    with Job(_request(folder), 0.01) as job, pytest.raises(Crashed, match="end within 0.01 s"):
        job.wait()
    assert time.monotonic() - start < 5
    assert _works(folder)


@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.08])
def test_a_job_that_nobody_waits_for_is_ended(folder, after_s):
    """It writes nothing more once it is left, so that its folder can be removed."""
    assert _works(folder)
    deadline = time.monotonic() + 10
    while _children(isolation._worker._process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)  # a child that has answered may take a moment to end
    for _ in range(3):
        with Job(_request(folder)):
            time.sleep(after_s)
        assert _children(isolation._worker._process.pid) == []
    assert _works(folder)


def test_a_job_that_is_left_before_its_worker_listens_is_never_started(tmp_path):
    isolation._end()
    with Job(_request(tmp_path)):
        pass
    with Job(_request(tmp_path)) as job, pytest.raises(RuntimeError, match="does not exist"):
        job.wait()
    (tmp_path / "log.txt").unlink()  # of the second
    isolation._end()
    with Job(_request(tmp_path)):
        pass
    assert list(tmp_path.iterdir()) == []


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return file.read().split()


def test_a_lost_worker_is_replaced(folder):
    assert _works(folder)
    lost = isolation._worker._process.pid
    os.kill(lost, signal.SIGKILL)
    time.sleep(0.2)
    with Job(_request(folder)) as job:
        job.wait()
    assert isolation._worker._process.pid != lost


def test_jobs_from_several_threads(folder, tmp_path):
    folders = [tmp_path / str(i) for i in range(4)]
    for each in folders:
        each.mkdir()
        _write_inputs(each, Conversion(trace(_part()), []))
    results = {}
    threads = [
        threading.Thread(target=lambda each=each: results.update({each: _works(each)}))
        for each in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # the worker outlives the thread that started it
    assert list(results.values()) == [True] * 4 and _works(folder)


def test_no_python_to_start(monkeypatch):
    monkeypatch.setattr(isolation, "_worker", None)
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(ExportError, match="cannot be run: no Python process can be started"):
        convert(trace(_part()), [])


_SCRIPT = """
import os, sys
assert __name__ == "__main__"
print("started")
from autokit.deploy import isolation
isolation.prepare()
pid = os.fork()
if pid == 0:
    assert isolation._worker is None
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(isolation._worker._process.pid)
"""


def test_the_worker_ends_with_its_process_and_runs_nothing_of_its_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=60
    )
    started, pid = done.stdout.split()
    assert (started, done.stderr, done.returncode) == ("started", "", 0)
    assert not _runs(pid)


def test_a_killed_process_takes_its_worker_along(tmp_path):
    code = _SCRIPT + "sys.stdout.flush(); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    pid = done.stdout.split()[1]
    deadline = time.monotonic() + 60  # it may have to finish loading TensorFlow first
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _runs(pid)


def test_graphs_of_strings_and_tensors_are_calibrated():
    part = Part(
        lambda t: {"y": t["x"] * tf.cast(tf.equal(t["word"], "a"), tf.float32)},
        {"x": ((1,), "float32"), "word": ((1,), "string")},
        [],
    )
    rows = {
        "x": np.linspace(0, 1, 40, dtype=np.float32)[:, None],
        "word": np.array([["a"], ["é"]] * 20, object),
    }
    assert convert(trace(part), [], "int8", rows=rows)[4:8] == b"TFL3"
