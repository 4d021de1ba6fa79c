from __future__ import annotations

import os
import signal
import time

import pytest

from autokit.deploy.isolation import Crashed, in_child
from autokit.deploy.quiet import quiet

# Python 3.12 warns of forks beside other threads; callers fork inside quiet().


def _in_child(*args):
    with quiet():
        return in_child(*args)


def test_result_comes_back():
    assert _in_child(lambda: b"x" * 200_000) == b"x" * 200_000


def test_exception_comes_back_with_its_message():
    with pytest.raises(RuntimeError, match="ValueError: bytes must be in range"):
        _in_child(lambda: bytes([300]))


def test_crash_is_an_exception():
    with pytest.raises(Crashed, match="it was ended by SIGSEGV"):
        _in_child(lambda: os.kill(os.getpid(), signal.SIGSEGV))


def test_endless_child_is_ended():
    start = time.monotonic()
    with pytest.raises(Crashed, match="did not end within 0.2 s"):
        _in_child(lambda: time.sleep(60), 0.2)
    assert time.monotonic() - start < 10
