"""The process in which files are converted: TensorFlow is loaded once, each job is a fork of it.

A fork of a process that has loaded TensorFlow and used nothing of it starts in milliseconds, runs
no thread, and may crash, hang or leak without harm to the next job. The process belongs to one
Python process, see :mod:`autokit.deploy.isolation`; it ends when that one does.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

MAX_REQUEST_BYTES = 1 << 16
_IDLE_S = 900.0  # then the memory is given back; the next job starts another process
_WATCH_S = 2.0
_PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> None:
    """Answer requests that come in over a socket until its other end is closed.

    Parameters
    ----------
    descriptor : int
        Of a SOCK_SEQPACKET socket. A message is a request in JSON, with a stream socket attached
        for the answer: one line of JSON, ``{"done": true}``, ``{"error": text,
        "details": {...}}`` or ``{"signal": number}``. A closed stream socket ends the job.
    """
    parent = os.getppid()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()  # a crash is an answer, not news for a terminal
    # What all jobs need is loaded once.
    import ai_edge_litert.interpreter  # noqa: F401

    from autokit.deploy import quantizers  # noqa: F401

    with socket.socket(fileno=descriptor) as control, _Jobs(control) as jobs:
        while os.getppid() == parent and jobs.idle_s() < _IDLE_S:
            if not jobs.step():
                return


class _Jobs:
    """The running children, by the socket on which each answers."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[socket.socket, int] = {}
        self._used = time.monotonic()
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        self._selector = selectors.DefaultSelector()
        for watched in (control, self._wake):
            self._selector.register(watched, selectors.EVENT_READ)

    def __enter__(self) -> _Jobs:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._children.values():
            os.kill(pid, signal.SIGKILL)

    def idle_s(self) -> float:
        if self._children:
            self._used = time.monotonic()
        return time.monotonic() - self._used

    def step(self) -> bool:
        """Handle what has happened; False once there is nobody left to work for."""
        for key, _ in self._selector.select(_WATCH_S):
            if key.fileobj is self._control:
                request, descriptors, *_ = socket.recv_fds(self._control, MAX_REQUEST_BYTES, 1)
                if not request:
                    return False
                self._start(request, socket.socket(fileno=descriptors[0]))
            elif key.fileobj is self._wake:
                self._wake.recv(4096)
                self._reap()
            elif key.fileobj in self._children:
                # Readable means closed: nobody waits for this answer any more.
                self._selector.unregister(key.fileobj)
                os.kill(self._children[key.fileobj], signal.SIGKILL)
        return True

    def _start(self, request: bytes, answer: socket.socket) -> None:
        if _is_closed(answer):
            answer.close()
            return
        pid = os.fork()
        if pid == 0:
            # A copy of another job's socket would keep that one from being seen as closed.
            for inherited in (self._control, *self._children):
                inherited.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(json.loads(request), answer)
        self._children[answer] = pid
        self._used = time.monotonic()
        self._selector.register(answer, selectors.EVENT_READ)

    def _reap(self) -> None:
        for answer, pid in list(self._children.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            del self._children[answer]
            with contextlib.suppress(KeyError):
                self._selector.unregister(answer)
            with contextlib.suppress(OSError), answer:
                if os.WIFSIGNALED(status):
                    answer.sendall(_line({"signal": os.WTERMSIG(status)}))


def _answer(request: dict[str, Any], answer: socket.socket) -> NoReturn:
    """Do a job in a child, and end without cleaning up what is the parent's."""
    try:
        _die_with_parent()
        log = os.open(Path(request["folder"]) / "log.txt", os.O_CREAT | os.O_WRONLY, 0o600)
        os.dup2(log, 2)
        from autokit.deploy import quantizers

        try:
            quantizers.run(**request)
            reply: dict[str, Any] = {"done": True}
        except Exception as error:
            reply = {
                "error": str(error) or type(error).__name__,
                "details": getattr(error, "details", {}),
            }
        answer.sendall(_line(reply))
    finally:
        os._exit(0)


def _is_closed(answer: socket.socket) -> bool:
    try:
        return not answer.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def _line(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply).encode() + b"\n"


def _die_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
