"""How long one row takes in LiteRT."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from autokit.deploy.runtime import TFLiteModel

_STATUS = Path("/proc/self/status")
_WARM_UP_S, _WARM_UP_RUNS = 0.1, 200


class Spread(NamedTuple):
    """Percentiles of repeated measurements, in the unit of the field's name."""

    median: float
    p10: float
    p90: float
    p99: float


@dataclass(frozen=True)
class LatencyReport:
    """What :func:`benchmark` measured.

    Attributes
    ----------
    latency_ms : Spread
        Median, 10th, 90th and 99th percentile of one row, tensors in and out included.
    load_ms : float
        Opening the file and allocating its tensors.
    n_runs, n_threads : int
        Timed runs, and threads of the interpreter.
    size_bytes : int
        Of the file.
    memory_mib : float or None
        Growth of the process' peak memory from loading the file to the end of the runs; None
        where the system does not tell (only Linux does).
    ops_ms : dict of str to float or None
        Time in each kind of operator. Always None for now: LiteRT profiles operators, but its
        Python package (2.3) has no function that returns the profile. On a phone, LiteRT's own
        ``benchmark_model --enable_op_profiling=true`` gives it.
    """

    latency_ms: Spread
    load_ms: float
    n_runs: int
    n_threads: int
    size_bytes: int
    memory_mib: float | None
    ops_ms: dict[str, float] | None = None


def benchmark(
    path: str | Path | TFLiteModel,
    *,
    n_threads: int = 1,
    n_runs: int = 200,
    rows: Any = None,
) -> LatencyReport:
    """Time a .tflite file on one row at a time, after a warm-up.

    Parameters
    ----------
    path : str, Path or TFLiteModel
        The file. It is loaded afresh, with `n_threads`.
    n_threads : int, default=1
        Threads of the interpreter.
    n_runs : int, default=200
        Timed runs.
    rows : array-like or DataFrame, default=None
        Rows to cycle through, as ``TFLiteModel.predict`` takes them. By default one row of
        zeros: the time of these networks does not depend on the values.

    Returns
    -------
    LatencyReport
        Percentiles in milliseconds, and peak memory.

    Raises
    ------
    ValueError
        If `n_threads` or `n_runs` is below 1, or the file or the rows are not fit for use.
    """
    for name, value in (("n_threads", n_threads), ("n_runs", n_runs)):
        if int(value) < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if isinstance(path, TFLiteModel):
        path = path.path
    before = _peak_memory_kib(reset=True)
    start = time.perf_counter()
    model = TFLiteModel(path, n_threads=n_threads)
    load_ms = (time.perf_counter() - start) * 1e3
    if rows is None:
        singles = [{name: np.zeros((1, *s), d) for name, (s, d) in model.specs().items()}]
    else:
        tensors = model.tensors(rows)
        n_rows = len(next(iter(tensors.values())))
        singles = [{k: v[i : i + 1] for k, v in tensors.items()} for i in range(min(n_rows, 256))]
    latency_ms = measure(model, singles, n_runs)
    after = _peak_memory_kib()
    memory = None if before is None or after is None else max(0, after - before) / 1024
    return LatencyReport(
        latency_ms=latency_ms,
        load_ms=load_ms,
        n_runs=int(n_runs),
        n_threads=int(n_threads),
        size_bytes=Path(path).stat().st_size,
        memory_mib=memory,
    )


def measure(model: TFLiteModel, singles: list[dict[str, np.ndarray]], n_runs: int) -> Spread:
    """Time `n_runs` single rows.

    Parameters
    ----------
    model : TFLiteModel
        A loaded file.
    singles : list of dict of str to ndarray
        Tensors of one row each, used in turn.
    n_runs : int
        Timed runs.

    Returns
    -------
    Spread
        In milliseconds.
    """
    end = time.perf_counter() + _WARM_UP_S
    for i in range(_WARM_UP_RUNS):
        model.run(singles[i % len(singles)])
        if time.perf_counter() > end:
            break
    times = np.empty(n_runs)
    for i in range(n_runs):
        row = singles[i % len(singles)]
        start = time.perf_counter()
        model.run(row)
        times[i] = time.perf_counter() - start
    return Spread(*(float(t) for t in np.percentile(times * 1e3, [50, 10, 90, 99])))


def _peak_memory_kib(reset: bool = False) -> int | None:
    try:
        if reset:
            # Linux: sets the peak to what is resident now.
            Path("/proc/self/clear_refs").write_text("5")
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
