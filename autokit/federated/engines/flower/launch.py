"""One of our processes: ``python -m autokit.federated.engines.flower.launch superlink|node ...``.

It ends with the process that started it, however that one ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import warnings

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        os._exit(1)


def main() -> None:
    """Run what the arguments say."""
    parent, kind, *arguments = sys.argv[1:]
    die_with(int(parent))
    warnings.simplefilter("ignore", DeprecationWarning)  # of Flower's own imports
    if kind == "superlink":
        from flwr.superlink.cli.flower_superlink import flower_superlink

        sys.argv = ["flower-superlink", *arguments]
        flower_superlink()
    else:
        from autokit.federated.engines.flower.node import main as node

        node(arguments)


if __name__ == "__main__":
    main()
