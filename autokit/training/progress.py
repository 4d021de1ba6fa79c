"""What a person sees while networks train: a bar over epochs, a table over trials."""

from __future__ import annotations

import threading
import time

from autokit._backend import keras


class EpochProgress(keras.callbacks.Callback):
    """Show epochs, their logs and the time left on the terminal (rich).

    Parameters
    ----------
    unit : str, default="epoch"
        What an epoch is called.
    """

    def __init__(self, unit: str = "epoch"):
        super().__init__()
        self.unit = unit

    def on_train_begin(self, logs=None):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn(self.unit),
            MofNCompleteColumn(),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        self._task = self._bar.add_task("", total=self.params["epochs"])
        self._bar.start()

    def on_epoch_end(self, epoch, logs=None):
        text = "  ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self._bar.update(self._task, completed=epoch + 1, description=text)

    def on_train_end(self, logs=None):
        self._bar.stop()


class TrialProgress:
    """Show trials, the incumbent's score, the budget left and the share of pruned trials.

    Use it as a context manager; without a terminal it writes one line at the end. Subclasses say
    what a trial is: they call `_count`, and set `incumbent`.

    Parameters
    ----------
    max_trials : int or None
    deadline : float or None
        ``time.monotonic()`` second.
    """

    def __init__(self, max_trials: int | None = None, deadline: float | None = None):
        self.max_trials, self.deadline = max_trials, deadline
        self.incumbent: tuple[float, int] | None = None  # score, and number of the trial
        self.phase = "search"
        self._statuses: list[str] = []
        self._running: dict[int, float] = {}
        self._lock = threading.Lock()
        self._live = None

    def __enter__(self):
        from rich.live import Live

        self._live = Live(get_renderable=self._table, refresh_per_second=4)
        self._live.start()
        return self

    def __exit__(self, *_) -> None:
        self._live.stop()
        if not self._live.console.is_terminal:
            self._live.console.line()  # rich ends the last line on terminals only

    def trial_started(self, number: int, what) -> None:
        """A trial begins."""
        with self._lock:
            self._running[number] = time.monotonic()

    def _count(self, number: int, status: str) -> None:
        with self._lock:
            self._running.pop(number, None)
            self._statuses.append(status)

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
        n_finished = len(self._statuses)
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
        n_pruned = self._statuses.count("pruned")
        return {
            "trial": trial,
            "incumbent": "-" if self.incumbent is None else f"{self.incumbent[0]:.4f}",
            "of trial": "-" if self.incumbent is None else str(self.incumbent[1] + 1),
            "budget": left,
            "finished": str(n_finished),
            "pruned": f"{n_pruned / n_finished:.0%}" if n_finished else "-",
            "failed": str(self._statuses.count("failed")),
        }

    def _table(self):
        from rich.table import Table

        cells = self.cells()
        table = Table(box=None, pad_edge=False)
        for heading in cells:
            table.add_column(heading, min_width=6, no_wrap=True)
        table.add_row(*cells.values())
        return table
