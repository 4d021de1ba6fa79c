"""A filter for the start-up log lines that TensorFlow and LiteRT write past Python's streams."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import threading
from collections.abc import Iterator

# TF_CPP_MIN_LOG_LEVEL does not silence these: they are written before the level is read.
_NOISE = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d:\d\d"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions"
    rb"|INFO: |WARNING: Attempting to use a delegate"
)


@contextlib.contextmanager
def without_native_noise() -> Iterator[None]:
    """Drop known log lines of native libraries from file descriptor 2 inside the block.

    All other lines pass. Python's own ``sys.stderr`` keeps writing to where it wrote before, so
    that a live display still sees a terminal. Meant for a process that autokit owns: the
    command line.
    """
    try:
        original = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    reading, writing = os.pipe()
    python_stderr = sys.stderr
    if _descriptor(python_stderr) == 2:
        sys.stderr = os.fdopen(
            os.dup(original), "w", buffering=1, encoding="utf-8", errors="backslashreplace"
        )
    os.dup2(writing, 2)
    os.close(writing)
    copier = threading.Thread(target=_copy, args=(reading, original), daemon=True)
    copier.start()
    try:
        yield
    finally:
        if sys.stderr is not python_stderr:
            sys.stderr.close()
            sys.stderr = python_stderr
        os.dup2(original, 2)
        # A child process may still hold the pipe: what it says later is not worth waiting for.
        copier.join(timeout=1.0)
        if not copier.is_alive():
            os.close(original)


def _descriptor(stream) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError, io.UnsupportedOperation):
        return None


def _copy(reading: int, original: int) -> None:
    with os.fdopen(reading, "rb") as lines, contextlib.suppress(OSError):
        for line in lines:
            if not _NOISE.match(line):
                os.write(original, line)
