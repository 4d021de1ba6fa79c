"""Processes for tests: clean ones, that start fast and never hang a test."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any


def start(target: Callable[..., None], *args: Any) -> multiprocessing.Process:
    """Run a function of a module in a process of its own.

    It is forked from a server that has loaded the package and runs no threads: a fork of the test
    itself may inherit locks of TensorFlow and of gRPC that nobody will ever release.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["autokit.tuning.estimator"])
    process = context.Process(target=target, args=args, daemon=True)
    process.start()
    return process


def wait_for(processes: list, seconds: float = 120.0) -> list[int | None]:
    """Exit codes; what still runs after so many seconds is killed."""
    for process in processes:
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in processes]
