"""Tables of measured latencies: recorded on this machine, or read from a file of somebody's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autokit.names import described
from autokit.nas.architecture import from_json, to_json

COLUMNS = ("architecture", "latency_ms", "size_bytes")


def record_latencies(
    space: Any,
    path: str | Path,
    input_shape: tuple[int, ...],
    n_outputs: int,
    *,
    n: int = 50,
    output_activation: str = "softmax",
    quantization: str | None = None,
    rows: Any = None,
    device: Callable[[Path], float] | None = None,
    seed: int = 0,
    on_measured: Callable[[int, Any, float], None] | None = None,
) -> Path:
    """Measure random architectures of a space and write a table of them.

    The table holds what was measured so far after every architecture, so that an interruption
    costs one.

    Parameters
    ----------
    space : SearchSpace
    path : str or path-like
        The CSV file, with the columns architecture (JSON), latency_ms and size_bytes.
    input_shape : tuple of int
        Of one row.
    n_outputs : int
    n : int, default=50
        Architectures, all different where the space has so many.
    output_activation : str, default="softmax"
    quantization, rows
        Of the files, see `autokit.deploy.export_tflite`.
    device : callable or None, default=None
        ``(path) -> ms``, which times a .tflite file elsewhere; by default LiteRT on this machine.
    seed : int, default=0
        Of the draw.
    on_measured : callable or None, default=None
        Is told the count so far, the architecture and its milliseconds.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        `n` is below 1, or the rows do not fit the space.
    OSError
        The file cannot be written.
    """
    from autokit.deploy.files import checked_path, written
    from autokit.nas.hardware.latency import measure_candidate
    from autokit.nas.strategies.proposals import unseen
    from autokit.training import seeded

    if n < 1:
        raise ValueError(f"n must be at least 1, better 50; got {n}.")
    path = checked_path(path, overwrite=True)
    if hasattr(space, "check_input"):
        space.check_input(tuple(input_shape))
    rng, seen, lines = np.random.default_rng(seed), set(), []
    for i in range(n):
        architecture = unseen(lambda: space.sample(rng), seen)
        with seeded(seed):
            model = space.build(architecture, tuple(input_shape), n_outputs, output_activation)
        found = measure_candidate(model, quantization=quantization, rows=rows, device=device)
        text = json.dumps(to_json(architecture))
        lines.append((text, f"{found.latency_ms:.6g}", found.size_bytes))
        with written(path, _table(lines)):
            pass
        if on_measured is not None:
            on_measured(i + 1, architecture, found.latency_ms)
    return path


def read_latencies(
    path: str | Path, space: Any, *, column: str = "latency_ms"
) -> tuple[list[Any], np.ndarray]:
    """Read measurements from a CSV file.

    Parameters
    ----------
    path : str or path-like
        One row for each measurement, with the column ``architecture`` (JSON, as
        `record_latencies` writes it) or, for spaces whose architectures have it, ``arch_str``,
        and the milliseconds. Other columns are ignored; a row with an empty time too.
    space : SearchSpace
        Whose architectures they are.
    column : str, default="latency_ms"
        The column of the milliseconds.

    Returns
    -------
    (list of architectures, np.ndarray of shape (n,))

    Raises
    ------
    ValueError
        A column is missing, there are no rows, or a row is no measurement of this space: the
        message names it.
    OSError
        The file cannot be read.
    """
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        found = reader.fieldnames or []
        named = next((name for name in ("architecture", "arch_str") if name in found), None)
        missing = [] if named else ["architecture (or arch_str)"]
        missing += [] if column in found else [column]
        if missing:
            raise ValueError(
                f"path: {path} lacks the column {' and '.join(missing)}; it has "
                f"{', '.join(found) or 'none'}. Name the column of milliseconds with column=."
            )
        rows = [row for row in reader if (row[column] or "").strip()]
    if not rows:
        raise ValueError(f"path: {path} holds no measurements; give at least five, better 50.")
    kind = type(space.sample(np.random.default_rng(0)))
    architectures, ms = [], np.empty(len(rows))
    for i, row in enumerate(rows):
        try:
            architecture = _architecture(row[named], named, kind)
            space.encode(architecture)
            ms[i] = float(row[column])
            if not (np.isfinite(ms[i]) and ms[i] > 0):
                raise ValueError(f"{column} must be a positive number, got {row[column]}")
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise ValueError(
                f"path: measurement {i + 1} of {path} is none of {described(space)} "
                f"({type(error).__name__}: {error})."
            ) from error
        architectures.append(architecture)
    return architectures, ms


def _architecture(text: str, named: str, kind: type) -> Any:
    if named == "arch_str":
        return kind.from_arch_str(text)
    return from_json(json.loads(text), kind)


def _table(lines: list[tuple]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(lines)
    return text.getvalue().encode()
