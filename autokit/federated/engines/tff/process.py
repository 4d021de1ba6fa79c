"""The worker process, seen from here: started, asked, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from autokit.federated.engines.tff.worker.wire import Wire

_FOLDER = Path(__file__).parent / "worker"
_COMMAND = (
    "import sys; sys.path.append(sys.argv[1]); import serve; serve.main(*map(int, sys.argv[2:]))"
)
_LAST_WORDS = 2000
# Of this process, not of that: another TensorFlow, another Keras. gRPC would ask a proxy for the
# executor on this machine.
_UNSET = ("TF_USE_LEGACY_KERAS", "TF_XLA_FLAGS", "XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


class EngineDied(RuntimeError):
    """The process of TensorFlow Federated was ended, or could not start."""


class RefusedThere(RuntimeError):
    """TensorFlow Federated raised an error."""


class Worker:
    """A process that runs TensorFlow Federated.

    It has a session of its own, so that Ctrl-C is for this process; it and its executor are ended
    by the system if this process ends first.

    Parameters
    ----------
    python : path-like
        Of an environment with TensorFlow Federated.

    Attributes
    ----------
    versions : dict of str to str
        Of what it loaded.

    Raises
    ------
    EngineDied
        It does not start.
    """

    def __init__(self, python: str | os.PathLike) -> None:
        self._log = tempfile.TemporaryFile()
        self._cpu_before_end = 0.0
        ours, theirs = socket.socketpair()
        command = [os.fspath(python), "-I", "-W", "ignore", "-c", _COMMAND, os.fspath(_FOLDER)]
        with theirs:
            command += [str(theirs.fileno()), str(os.getpid())]
            try:
                self._process = subprocess.Popen(
                    command,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._log,
                    env=_environment(),
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                self._log.close()
                raise EngineDied(f"{python} cannot be started ({error})") from error
        self._wire = Wire(ours.detach())
        try:
            answer, _ = self.ask("hello", n_threads=os.cpu_count() or 1)
        except BaseException as error:
            self.close()
            if isinstance(error, EngineDied | RefusedThere):
                raise EngineDied(
                    f"TensorFlow Federated does not start with {python}: {error}. 'autokit tff "
                    "check' looks after it."
                ) from error
            raise
        self.versions: dict[str, str] = answer["versions"]

    @property
    def pid(self) -> int:
        """Of the process, which is that of its group."""
        return self._process.pid

    def ask(
        self, what: str, arrays: Mapping[str, np.ndarray] | None = None, **header: Any
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Ask, and wait for the answer.

        Raises
        ------
        EngineDied
            It has ended; the message has its last words.
        RefusedThere
            It raised an error; it goes on.
        """
        try:
            self._wire.send({"do": what, **header}, arrays)
            answer, results = self._wire.receive()
        except (EOFError, OSError) as error:
            raise EngineDied(self._obituary()) from error
        if "error" in answer:
            raise RefusedThere(answer["error"])
        return answer, results

    def cpu_seconds(self) -> float:
        """CPU time of the process and of all that it has started."""
        if self._process.returncode is not None:
            return self._cpu_before_end
        return _cpu_of_group(self.pid)

    def close(self) -> None:
        """End it, and all that it has started."""
        self._wire.close()
        if self._process.returncode is None:
            self._cpu_before_end = self.cpu_seconds()
            # before it is waited for: until then nobody else can have this number
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _obituary(self) -> str:
        self._log.seek(0)
        words = self._log.read().decode(errors="replace")
        self.close()
        code = self._process.returncode
        with contextlib.suppress(ValueError):
            if code is not None and code < 0:
                code = signal.Signals(-code).name
        words = words.strip()[-_LAST_WORDS:].strip()
        return f"the process of TensorFlow Federated ended ({code})" + (
            f": {words}" if words else ""
        )


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _UNSET and not name.lower().endswith("_proxy")
    }
    return kept | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def _cpu_of_group(group: int) -> float:
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))  # its own, and of children that have ended
    return ticks / _TICKS
