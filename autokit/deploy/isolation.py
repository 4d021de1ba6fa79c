"""Jobs in a process of their own, so that a crash of native code does not end the user's."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from types import TracebackType
from typing import Any

TIMEOUT_S = 600.0
_ENDING_S = 1.0
_KILLING_S = 5.0  # a worker that still loads TensorFlow answers later, and starts nothing then
# Not `-m`: what can be imported here must be importable there, and the user's script stays out.
_COMMAND = (
    "import json, sys\n"
    "sys.path += [p for p in json.loads(sys.argv[2]) if p not in sys.path]\n"
    "from autokit.deploy import worker\n"
    "worker.main(int(sys.argv[1]))\n"
)


class Crashed(RuntimeError):
    """The process of a job was ended, or could not start."""


class JobFailed(RuntimeError):
    """A job raised; `details` holds what it told besides its message."""

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = details


class TimedOut(Crashed):
    """The job did not end in time."""


class Job:
    """A request that a worker process answers.

    A worker is started with the first job and kept: it takes seconds to load TensorFlow. Every
    job is a fork of it, several may run at once, and jobs may come from several threads.

    Parameters
    ----------
    request : dict
        Keyword arguments of :func:`autokit.deploy.quantizers.run`; JSON carries them.
    timeout_s : float
        When to give up, counted from now.

    Raises
    ------
    Crashed
        If no worker can be started.
    """

    def __init__(self, request: dict[str, Any], timeout_s: float = TIMEOUT_S) -> None:
        self._request = request
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._worker, self._answer = _submitted(request)
        self._has_replied = False

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the job, wherever it is; when this returns it writes nothing any more."""
        with self._answer, contextlib.suppress(OSError):
            if not self._has_replied:
                self._answer.shutdown(socket.SHUT_WR)  # its child is killed, or never started
                self._answer.settimeout(_KILLING_S)
                while self._answer.recv(1 << 16):
                    pass  # the end comes when nobody holds the other side

    def wait(self) -> None:
        """Wait for the end.

        Raises
        ------
        Crashed
            If the child was ended by a signal, or took too long.
        JobFailed
            If the job raised, with the message of what it raised.
        """
        reply = self._reply()
        if not reply and self._worker.has_ended(_ENDING_S):
            # The worker had just given up waiting for work, or was ended from outside.
            self._answer.close()
            self._worker, self._answer = _submitted(self._request)
            reply = self._reply()
        if "signal" in reply:
            raise Crashed(f"it was ended by {signal.Signals(reply['signal']).name}")
        if "error" in reply:
            raise JobFailed(reply["error"], reply["details"])
        if not reply:
            raise Crashed(f"it ended without an answer{self._worker.last_words()}")

    def _reply(self) -> dict[str, Any]:
        received = b""
        try:
            while not received.endswith(b"\n"):
                self._answer.settimeout(max(self._deadline - time.monotonic(), 1e-3))
                part = self._answer.recv(1 << 16)
                if not part:
                    return {}
                received += part
        except TimeoutError as error:
            raise TimedOut(f"it did not end within {self._timeout_s:g} s") from error
        except ConnectionError:
            return {}
        self._has_replied = True
        return json.loads(received)


def prepare() -> None:
    """Start the worker, so that it loads TensorFlow while this process does other things."""
    with contextlib.suppress(Crashed):
        _current()


class _Worker:
    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log, self._words = tempfile.TemporaryFile(), ""
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        with theirs:
            number = str(theirs.fileno())
            command = ["-P", "-W", "ignore", "-c", _COMMAND, number, json.dumps(sys.path)]
            try:
                self._process = subprocess.Popen(
                    [sys.executable, *command],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for the user's process
                )
            except (OSError, ValueError) as error:
                self.control.close()
                self._log.close()
                raise Crashed(f"no Python process can be started ({error})") from error

    def has_ended(self, within_s: float = 0.0) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within_s)
        return self._process.returncode is not None

    def last_words(self) -> str:
        if self.has_ended():
            self.end()
        return self._words

    def end(self) -> None:
        self.control.close()
        self._process.kill()  # its jobs die with it, and it may still be loading TensorFlow
        self._process.wait()
        if not self._log.closed:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()
            self._words = f": {lines[-1][:300]}" if lines else ""
            self._log.close()

    def forget(self) -> None:
        """Leave it to the process that this one was forked from."""
        self.control.close()
        self._log.close()
        self._process.returncode = 0


_lock = threading.Lock()
_worker: _Worker | None = None


def _current() -> _Worker:
    global _worker
    with _lock:
        if _worker is not None and _worker.has_ended():
            _worker.end()
            _worker = None
        if _worker is None:
            _worker = _Worker()
        return _worker


def _submitted(request: dict[str, Any]) -> tuple[_Worker, socket.socket]:
    message = json.dumps(request).encode()
    for _ in range(2):  # the worker may end just now, for want of work
        worker = _current()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(worker.control, [message], [theirs.fileno()])
                return worker, ours
            except OSError:
                ours.close()
                worker.end()
    raise Crashed(f"it does not take requests{worker.last_words()}")


def _end() -> None:
    global _worker
    with _lock:
        if _worker is not None:
            _worker.end()
            _worker = None


def _after_fork() -> None:
    global _worker, _lock
    _lock = threading.Lock()
    if _worker is not None:
        _worker.forget()
        _worker = None


atexit.register(_end)
os.register_at_fork(after_in_child=_after_fork)
