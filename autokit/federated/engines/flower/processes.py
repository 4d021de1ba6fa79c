"""Processes of ours, and the private folder that they share."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import autokit

GRACE_S = 3.0
_ROOT = str(Path(autokit.__file__).parents[1])
_LAUNCH = "autokit.federated.engines.flower.launch"


class Children:
    """Processes that end with this one, and what they say.

    Parameters
    ----------
    folder : Path
        Of their logs, and of all that Flower would write into the user's home.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._processes: dict[str, subprocess.Popen] = {}

    def start(self, name: str, kind: str, arguments: Sequence[str], **environment: str) -> None:
        """Start one."""
        home = self.folder / "flower"
        home.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_LOG_LEVEL": "WARNING",
            "no_proxy": no_proxy("127.0.0.1"),
            "PYTHONPATH": os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH")))),
            **environment,
        }
        command = [sys.executable, "-m", _LAUNCH, str(os.getpid()), kind, *arguments]
        with open(self._log(name), "wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # a Ctrl-C at the terminal is this process's alone
            )

    def ended(self, name: str) -> str | None:
        """Why one has ended; None while it runs."""
        code = self._processes[name].poll()
        if code is None:
            return None
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def pid(self, name: str) -> int:
        """Number of a process."""
        return self._processes[name].pid

    def said(self, name: str) -> str:
        """The end of what one said."""
        with contextlib.suppress(OSError):
            lines = self._log(name).read_text(errors="replace").splitlines()
            return "\n".join(line for line in lines[-30:] if line.strip())
        return ""

    def stop(self) -> None:
        """End all of them."""
        running = [p for p in self._processes.values() if p.poll() is None]
        for process in running:
            process.terminate()
        until = time.monotonic() + GRACE_S
        for process in running:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


@contextlib.contextmanager
def children() -> Iterator[Children]:
    """Processes and their folder; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="autokit-flower-"))  # of mode 700
    started = Children(folder)
    try:
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)


def no_proxy(host: str) -> str:
    """The variable of that name, with one more host to go to without a proxy."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    return ",".join(filter(None, (known, host)))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def check_free(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on.

    Raises
    ------
    OSError
        The message says why.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Flower's server does
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OSError(
                f"{host}:{port} cannot be listened on ({error.strerror}); choose another address "
                "of this machine (--address)."
            ) from error
