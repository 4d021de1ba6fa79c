"""The filter of native log lines drops those, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from autokit.cli.stderr import without_native_noise

NOISE = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795247176.252352    8770 port.cc:153] oneDNN custom operations are on.\n"
    b"2026-11-21 07:00:00.000000: I tensorflow/core/util/port.cc:153] oneDNN custom\n"
    b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
)


def test_native_noise_is_dropped_and_all_else_kept(capfd):
    with without_native_noise():
        os.write(2, NOISE + b"Fatal: the disk is on fire\n")
        time.sleep(0.3)  # two threads that write at once may mix their lines
        print("from Python", file=sys.stderr)
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'from a child\\n')"])
    os.write(2, b"after\n")
    err = capfd.readouterr().err
    assert sorted(err.splitlines()) == [
        "Fatal: the disk is on fire",
        "after",
        "from Python",
        "from a child",
    ]


def test_stream_and_descriptors_are_put_back(capfd):
    stream = sys.stderr
    n_open = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with without_native_noise():
            assert not os.isatty(2)
    assert sys.stderr is stream
    assert len(os.listdir("/proc/self/fd")) == n_open


def test_exception_passes_through(capfd):
    try:
        with without_native_noise():
            os.write(2, b"last words\n")
            raise KeyError("x")
    except KeyError:
        pass
    assert capfd.readouterr().err == "last words\n"
