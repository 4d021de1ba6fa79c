"""A call in a child process, so that a crash of native code does not end the user's."""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
import time
from collections.abc import Callable
from typing import Any, NoReturn

_TIMEOUT_S = 900.0
_SUCCESS, _FAILURE = 0, 3


class Crashed(RuntimeError):
    """The child process was ended by a signal, or did not end in time."""


def in_child(function: Callable[[], bytes], timeout_s: float = _TIMEOUT_S) -> bytes:
    """Call a function in a forked copy of this process.

    The child starts in milliseconds, with everything that is loaded here. It has the calling
    thread alone: the function must not wait for another, such as TensorFlow's pools. Where
    there is no ``fork`` the function is called here.

    Parameters
    ----------
    function : callable
        Takes nothing, returns bytes.
    timeout_s : float
        When to give up.

    Returns
    -------
    bytes
        The function's result.

    Raises
    ------
    Crashed
        If the child was ended by a signal, or took too long.
    RuntimeError
        If the function raised, with the message of what it raised.
    """
    if not hasattr(os, "fork"):
        return function()
    with tempfile.TemporaryFile() as answer:
        pid = os.fork()
        if pid == 0:
            _answer(function, answer)
        status = _wait(pid, timeout_s)
        if os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            raise Crashed(f"it was ended by {name}")
        answer.seek(0)
        value = answer.read()
    if os.WEXITSTATUS(status) != _SUCCESS:
        raise RuntimeError(value.decode(errors="replace") or "the child process failed")
    return value


def _answer(function: Callable[[], bytes], answer: Any) -> NoReturn:
    """Run in the child: write the result, and end without cleaning up what is the parent's."""
    status = _FAILURE
    faulthandler.disable()  # a crash here is an answer, not news for the user's terminal
    try:
        try:
            answer.write(function())
            status = _SUCCESS
        except BaseException as error:
            answer.write(f"{type(error).__name__}: {error}".encode())
        answer.flush()
    finally:
        os._exit(status)


def _wait(pid: int, timeout_s: float) -> int:
    deadline = time.monotonic() + timeout_s
    pause = 0.002
    try:
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return status
            if time.monotonic() > deadline:
                raise Crashed(f"it did not end within {timeout_s:g} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
