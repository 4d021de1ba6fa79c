"""A live display of a running search, and others who look on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from autokit.training.progress import TrialProgress
from autokit.tuning.trial import PRUNED, Trial


class SearchProgress(TrialProgress):
    """A display of trials, with the share of epochs that pruning has saved.

    Parameters
    ----------
    metric : str
        Of the incumbent.
    max_trials : int or None, default=None
    deadline : float or None, default=None
        ``time.monotonic()`` second.
    n_epochs : int or None, default=None
        Of a trial with all folds; None where none are counted.
    """

    def __init__(
        self,
        metric: str,
        max_trials: int | None = None,
        deadline: float | None = None,
        n_epochs: int | None = None,
    ):
        super().__init__(max_trials, deadline)
        self.metric, self.n_epochs = metric, n_epochs
        self._trained = self._saved = 0

    def trial_finished(self, trial: Trial) -> None:
        """A trial is over, or was found in the storage."""
        self._count(trial.number, trial.status)
        self._trained += trial.epochs
        if trial.status == PRUNED and self.n_epochs is not None:
            self._saved += max(0, self.n_epochs - trial.epochs)
        score = trial.mean(self.metric)
        if score is not None and (self.incumbent is None or score > self.incumbent[0]):
            self.incumbent = score, trial.number

    def cells(self) -> dict[str, str]:
        """What is shown, by heading."""
        cells = super().cells()
        if self.n_epochs is not None:
            n = self._saved + self._trained
            cells["saved"] = f"{self._saved / n:.0%}" if n else "-"
        return cells


class Listeners:
    """Several who look on at a search.

    Parameters
    ----------
    *parts : object
        With ``trial_started(number, values)`` and ``trial_finished(trial)``.
    """

    def __init__(self, *parts: Any):
        self.parts = parts

    def trial_started(self, number: int, values: dict[str, Any]) -> None:
        """A trial begins."""
        for part in self.parts:
            part.trial_started(number, values)

    def trial_finished(self, trial: Trial) -> None:
        """A trial is over, or was found in the storage."""
        for part in self.parts:
            part.trial_finished(trial)


@contextmanager
def looked_at(
    search: Any, verbose: int, log_dir: Any, metrics: Sequence[str]
) -> Iterator[SearchProgress | None]:
    """Show a search while it runs, and write its logs.

    Parameters
    ----------
    search : Search
    verbose : int
        Above 0 for a display.
    log_dir : path or None
    metrics : sequence of str

    Yields
    ------
    SearchProgress or None
        The display.
    """
    display, parts = None, []
    if log_dir is not None and not getattr(search.storage, "worker", 0):
        from autokit.tuning.logs import TensorBoardLogs

        parts += [TensorBoardLogs(log_dir, search.space, metrics)]
    if verbose:
        budget = search.time_budget_s
        n_epochs = len(search.evaluator.folds) * search.horizon if search.horizon > 1 else None
        display = SearchProgress(
            search.objectives[0],
            search.n_trials,
            None if budget is None else search.started + budget,
            n_epochs,
        )
        parts += [display]
    search.progress = Listeners(*parts) if parts else None
    with display or nullcontext():
        yield display
