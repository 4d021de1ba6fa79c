"""NAS-Bench-201's table as an evaluator: what every cell of `NB201Space` reached, looked up.

Not a benchmark of its own. A search sees the accuracy of a short training on validation rows;
what is reported of its best is the test accuracy after 200 epochs.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import record

SCORES, LATENCIES = "nas/nb201_cifar10.csv.gz", "nas/nb201_latency_ms.csv.gz"
SIGNAL, TARGET = "cifar10_val_12ep", "cifar10_test_200ep"
DEVICES = ("pixel3", "raspi4", "gold_6226", "titan_rtx_256")


class Table:
    """The rows of the benchmark, by architecture.

    Parameters
    ----------
    folder : path
        Of the data.

    Attributes
    ----------
    columns : dict of str to np.ndarray
        Accuracies in percent, params, flops, and milliseconds by device.
    """

    def __init__(self, folder):
        from autokit.nas import NB201Architecture

        self.columns, self._row = {}, {}
        for name in (SCORES, LATENCIES):
            with gzip.open(Path(folder) / name, "rt") as file:
                rows = list(csv.DictReader(file))
            for key in rows[0].keys() - {"index", "arch_str", "unique_str"}:
                self.columns[key] = np.array([float(r[key]) for r in rows])
            if "arch_str" in rows[0]:
                for row in rows:
                    architecture = NB201Architecture.from_arch_str(row["arch_str"])
                    self._row[architecture.ops] = int(row["index"])

    def look_up(self, architecture, column: str) -> float:
        """One number of one architecture."""
        return float(self.columns[column][self._row[architecture.ops]])

    def evaluator(self, signal: str = SIGNAL, device: str | None = None):
        """What a search calls: the signal is the score; with a device there are two objectives."""
        from autokit.nas import Evaluation

        def evaluate(architecture, budget):
            score = self.look_up(architecture, signal)
            latency = self.look_up(architecture, device) if device else None
            return Evaluation(
                -1,
                architecture,
                score,
                None,
                "complete",
                n_params=int(self.look_up(architecture, "params")),
                flops=int(self.look_up(architecture, "flops")),
                latency_ms=latency,
                values=(score, -latency) if device else (),
            )

        return evaluate


def load(folder) -> Table | None:
    """The table, or None with a line that says what is missing."""
    if any(record.data_file(folder, name) is None for name in (SCORES, LATENCIES)):
        return None
    return Table(folder)


def search(strategy, table: Table, seed: int, n_queries: int, device: str | None = None):
    """One search of the library's own loop, on the table in place of training."""
    from autokit.nas import FullTraining, NB201Space
    from autokit.nas.search import run

    space = NB201Space()
    return run(
        space,
        strategy(space, np.random.default_rng(seed)),
        table.evaluator(device=device),
        schedule=FullTraining(12),
        max_trials=n_queries,
        seed=seed,
    )
