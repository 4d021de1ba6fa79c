"""A live display of a running search."""

from __future__ import annotations

import threading
import time

from autokit.nas.protocols import Evaluation
from autokit.nas.result import best_of


class SearchProgress:
    """Show trials, the incumbent's score, the budget left and the share of pruned trials.

    Use it as a context manager; without a terminal it writes one line at the end.

    Parameters
    ----------
    max_trials : int or None
    deadline : float or None
        ``time.monotonic()`` second.
    """

    def __init__(self, max_trials: int | None = None, deadline: float | None = None):
        self.max_trials, self.deadline = max_trials, deadline
        self.finished: list[Evaluation] = []
        self.best: Evaluation | None = None
        self.phase = "search"
        self._running: dict[int, float] = {}
        self._lock = threading.Lock()
        self._live = None

    def __enter__(self) -> SearchProgress:
        from rich.live import Live

        self._live = Live(get_renderable=self._table, refresh_per_second=4)
        self._live.start()
        return self

    def __exit__(self, *_) -> None:
        self._live.stop()

    def trial_started(self, number: int, architecture) -> None:
        """A trial begins."""
        with self._lock:
            self._running[number] = time.monotonic()

    def trial_finished(self, evaluation: Evaluation) -> None:
        """A trial is over, or was found in the storage."""
        with self._lock:
            self._running.pop(evaluation.number, None)
            self.finished.append(evaluation)
            if evaluation.score is not None:
                self.best = best_of([self.best or evaluation, evaluation])

    def refit_started(self) -> None:
        """The search is over; the incumbent is trained on all rows."""
        self.phase = "refit"

    def refit_finished(self) -> None:
        """All is done."""
        self.phase = "done"

    def cells(self) -> dict[str, str]:
        """What is shown, by heading."""
        with self._lock:
            running, now = dict(self._running), time.monotonic()
        n_finished = len(self.finished)
        of = "" if self.max_trials is None else f" of {self.max_trials}"
        trial = self.phase
        if self.phase == "search" and running:
            number = max(running)
            trial = f"{number + 1}{of} ({now - running[number]:.0f} s)"
        elif self.phase == "search":
            trial = f"{n_finished}{of}"
        left = "no clock"
        if self.deadline is not None:
            left = f"{max(0.0, self.deadline - now):.0f} s left"
        pruned = sum(e.status == "pruned" for e in self.finished)
        return {
            "trial": trial,
            "incumbent": "-" if self.best is None else f"{self.best.score:.4f}",
            "of trial": "-" if self.best is None else str(self.best.number + 1),
            "budget": left,
            "finished": str(n_finished),
            "pruned": f"{pruned / n_finished:.0%}" if n_finished else "-",
            "failed": str(sum(e.status == "failed" for e in self.finished)),
        }

    def _table(self):
        from rich.table import Table

        cells = self.cells()
        table = Table(box=None, pad_edge=False)
        for heading in cells:
            table.add_column(heading, min_width=9)
        table.add_row(*cells.values())
        return table
