"""Latency and size of a candidate, measured on its .tflite file in LiteRT on this machine."""

from __future__ import annotations

import statistics
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

REPEATS = 3
RUNS, SECONDS = 100, 0.2
MIN_RUNS = 5

_quiet = threading.Lock()  # files that are timed side by side would time each other


class Measured(NamedTuple):
    """What a file costs: its size, and milliseconds of one row."""

    size_bytes: int
    latency_ms: float | None


def measure_candidate(
    model_or_estimator: Any,
    *,
    quantization: str | None = None,
    rows: Any = None,
    device: Callable[[Path], float] | None = None,
    with_latency: bool = True,
) -> Measured:
    """Make the .tflite file of a network, trained or not, and time it.

    The file is made as `autokit.deploy.export_tflite` makes it, metadata included, but it is not
    compared with Keras: how long a network takes does not depend on what it has learned.

    Parameters
    ----------
    model_or_estimator : keras.Model or estimator
        An estimator's file holds its encoder too.
    quantization : str or None, default=None
        As in `autokit.deploy.export_tflite`.
    rows : array-like or None, default=None
        To calibrate "int8" and "int16x8" with.
    device : callable or None, default=None
        ``(path) -> ms`` instead of LiteRT on this machine.
    with_latency : bool, default=True
        Whether the file is timed.

    Returns
    -------
    Measured

    Raises
    ------
    autokit.deploy.ExportError
        The network cannot be converted.
    """
    from autokit.deploy import metadata
    from autokit.deploy.routes import Options, graph_of
    from autokit.deploy.rows import gather
    from autokit.deploy.subject import subject_of

    subject = subject_of(model_or_estimator, rounds=quantization == "int8")
    graph = graph_of(subject, gather(subject, rows, quantization), Options(quantization))
    data = metadata.attach(graph, subject.description(quantization))
    if not with_latency:
        return Measured(len(data), None)
    with tempfile.TemporaryDirectory(prefix="autokit-") as folder:
        path = Path(folder) / "candidate.tflite"
        path.write_bytes(data)
        return Measured(len(data), (device or measure_file)(path))


def measure_file(path: str | Path, repeats: int = REPEATS) -> float:
    """Milliseconds of one row on one thread of this machine.

    Parameters
    ----------
    path : str or Path
        A .tflite file.
    repeats : int, default=3
        Loads and warm-ups; each gives the median of up to 100 runs or 0.2 s. Files are timed one
        after another, whatever the number of threads that ask.

    Returns
    -------
    float
        The median of the medians.
    """
    from autokit.deploy import benchmark

    with _quiet:
        once = benchmark(path, n_runs=MIN_RUNS).latency_ms.median
        n_runs = max(MIN_RUNS, min(RUNS, int(1e3 * SECONDS / max(once, 1e-3))))
        medians = [benchmark(path, n_runs=n_runs).latency_ms.median for _ in range(repeats)]
    return float(statistics.median(medians))
