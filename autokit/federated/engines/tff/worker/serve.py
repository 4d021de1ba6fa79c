"""The worker's loop: one message, one answer, until the other end is gone."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import types
from typing import Any

from wire import Wire

_PR_SET_PDEATHSIG = 1
# Between TFF and its executor: a child that dies with the worker, and takes no terminal's Ctrl-C.
_LAUNCH = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"
    "os.getppid() == int(sys.argv[1]) or sys.exit(1)\n"
    "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


def main(descriptor: int, parent: int) -> None:
    """Serve the process that started this one, and die with it.

    Parameters
    ----------
    descriptor : int
        Of the connected socket.
    parent : int
        Its process id.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    os.set_inheritable(descriptor, False)
    wire = Wire(descriptor)
    worker = _Worker()
    while True:
        try:
            header, arrays = wire.receive()
        except EOFError:
            return
        try:
            answer, results = getattr(worker, header.pop("do"))(header, arrays)
        except Exception as error:
            answer, results = {"error": _told(error)}, {}
        wire.send(answer, results)


class _Worker:
    """What can be asked for."""

    def __init__(self) -> None:
        self._learning = None

    def hello(self, header: dict, arrays: dict) -> tuple[dict[str, Any], dict]:
        """Load TFF."""
        import numpy as np
        import tensorflow as tf
        import tensorflow_federated as tff
        from tensorflow_federated.python.core.impl.executor_stacks import executor_factory

        executor_factory.subprocess = _launcher(executor_factory.subprocess)
        tff.backends.native.set_sync_local_cpp_execution_context(
            max_concurrent_computation_calls=header["n_threads"]
        )
        versions = {
            "tensorflow_federated": tff.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": sys.version.split()[0],
        }
        return {"versions": versions}, {}

    def open(self, header: dict, arrays: dict) -> tuple[dict, dict]:
        """Build a learning process."""
        from learning import Learning

        self._learning = Learning(header["spec"])
        return {}, {}

    def round(self, header: dict, arrays: dict) -> tuple[dict, dict]:
        """Run one round."""
        return {}, self._learning.round(header["clients"], arrays)


def _launcher(subprocess: types.ModuleType) -> types.SimpleNamespace:
    """`subprocess` as TFF uses it, for an executor that cannot outlive this process."""

    class Popen(subprocess.Popen):
        def __init__(self, command, **options):
            me = str(os.getpid())
            super().__init__(
                [sys.executable, "-I", "-S", "-c", _LAUNCH, me, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=sys.stderr,
            )

    return types.SimpleNamespace(Popen=Popen)


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:2000]}"
