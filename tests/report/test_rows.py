"""The comparison of models counts right and prints every model."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from autokit.report import measure, print_rows


def test_accuracy_and_agreement_are_shares_of_rows():
    X = np.arange(4)
    row, predictions = measure(
        "parity", lambda X: X % 2, X, np.array([0, 1, 0, 0]), reference=np.array([1, 1, 1, 1])
    )
    assert row.accuracy == 0.75
    assert row.agreement == 0.5
    assert predictions.tolist() == [0, 1, 0, 1]
    assert 0 < row.latency_ms < 10


def test_table_shows_each_model():
    row, _ = measure("identity", lambda X: X, np.arange(2), np.arange(2), size_bytes=1500)
    console = Console(file=io.StringIO(), width=100)
    print_rows(console, "digits", [row, row])
    text = console.file.getvalue()
    assert text.count("identity") == 2
    assert text.count("1.0000") == 2
    assert text.count("1.5") == 2
