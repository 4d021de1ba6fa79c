"""Results of benchmarks: one JSON line each, and the tables made from them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("autokit", "tensorflow", "keras", "scikit-learn", "numpy")


def arguments(description: str, **options) -> argparse.Namespace:
    """Parse ``--data``, ``--seeds`` and further options given as name=default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", type=Path, default=os.environ.get("AUTOKIT_DATA"))
    parser.add_argument("--seeds", type=int, default=options.pop("seeds", 3))
    for name, default in options.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


def data_file(folder: Path | None, name: str) -> Path | None:
    """The file, or None with a line that says what is missing."""
    path = None if folder is None else Path(folder) / name
    if path is None or not path.exists():
        print(
            f"{name} is missing: name the data folder with --data or AUTOKIT_DATA", file=sys.stderr
        )
        return None
    return path


def resident_mib() -> float:
    """Memory that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


@contextmanager
def measured():
    """Wall and CPU seconds of a block, in the dict it yields."""
    cost: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield cost
    cost["seconds"] = time.perf_counter() - wall
    cost["cpu_seconds"] = time.process_time() - cpu


def write(question: str, method: str, data: str, seed: int, value: float, **more) -> dict:
    """Append one result to ``results/<question>.jsonl`` and return it."""
    line = {
        "question": question,
        "method": method,
        "data": data,
        "seed": seed,
        "value": value,
        **more,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "versions": {p: version(p) for p in PACKAGES} | {"python": platform.python_version()},
        "date": time.strftime("%Y-%m-%d"),
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{question}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    return line


def read(question: str) -> list[dict]:
    """All results of a question, the newest last."""
    path = RESULTS / f"{question}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def latest(lines: Sequence[dict]) -> list[dict]:
    """The newest result of each method, data set and seed."""
    return list({(r["data"], r["method"], r["seed"]): r for r in lines}.values())


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean and standard deviation, as text."""
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    tail = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{tail}"


def table(lines: Sequence[dict], columns: dict[str, int]) -> str:
    """A Markdown table with a row per data set and method.

    Parameters
    ----------
    lines : sequence of dict
    columns : dict
        Key of a result -> digits.
    """
    head = ["data", "method", *columns, "seeds"]
    rows = [head, ["---"] * len(head)]
    for data, method in dict.fromkeys((r["data"], r["method"]) for r in lines):
        group = [r for r in lines if (r["data"], r["method"]) == (data, method)]
        cells = [spread([r.get(c) for r in group], digits) for c, digits in columns.items()]
        rows.append([data, method, *cells, str(len(group))])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def ratio(lines: Sequence[dict], key: str, of: str, to: str, data: str) -> float:
    """Mean of `key` for method `of` divided by that of method `to`."""

    def mean(method):
        return fmean(r[key] for r in lines if r["method"] == method and r["data"] == data)

    return mean(of) / mean(to)
