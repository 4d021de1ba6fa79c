"""Models side by side: how good, how large, how fast, as a table and as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class ModelRow:
    """One model's line in a comparison.

    Attributes
    ----------
    name : str
        As the table shows it.
    accuracy : float
        On the held-out rows.
    agreement : float or None
        Share of held-out rows on which the model says the same as the reference model.
    size_bytes : int or None
        Of the file, where the model is one.
    latency_ms : float
        Median time of `predict` for one row.
    """

    name: str
    accuracy: float
    agreement: float | None
    size_bytes: int | None
    latency_ms: float


def measure(
    name: str,
    predict: Callable,
    X: np.ndarray,
    y: np.ndarray,
    *,
    reference: np.ndarray | None = None,
    size_bytes: int | None = None,
) -> tuple[ModelRow, np.ndarray]:
    """Score `predict` on held-out rows and time it on one row at a time.

    Returns
    -------
    tuple of ModelRow and ndarray
        The line of the table, and the predictions.
    """
    predictions = predict(X)
    row = ModelRow(
        name=name,
        accuracy=float(np.mean(predictions == y)),
        agreement=None if reference is None else float(np.mean(predictions == reference)),
        size_bytes=size_bytes,
        latency_ms=row_latency_ms(predict, X),
    )
    return row, predictions


def row_latency_ms(predict: Callable, X: np.ndarray, budget_s: float = 0.5) -> float:
    """Return the median milliseconds of a call of `predict` with one row."""
    predict(X[:1])  # the first call may compile
    times: list[float] = []
    end = time.perf_counter() + budget_s
    while len(times) < 5 or (time.perf_counter() < end and len(times) < 500):
        row = len(times) % len(X)
        begin = time.perf_counter()
        predict(X[row : row + 1])
        times.append(time.perf_counter() - begin)
    return float(np.median(times) * 1e3)


def print_rows(console: Console, title: str, rows: Sequence[ModelRow]) -> None:
    """Print the comparison as a table."""
    table = Table(title=title, title_justify="left")
    table.add_column("model", no_wrap=True)
    for heading in ("accuracy", "agreement", "size, kB", "ms a row"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            f"{row.accuracy:.4f}",
            "" if row.agreement is None else f"{row.agreement:.4f}",
            "" if row.size_bytes is None else f"{row.size_bytes / 1000:.1f}",
            f"{row.latency_ms:.2f}",
        )
    console.print(table)
