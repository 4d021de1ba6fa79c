"""A live display of a running search."""

from __future__ import annotations

from autokit.nas.protocols import Evaluation
from autokit.nas.result import best_of
from autokit.training.progress import TrialProgress


class SearchProgress(TrialProgress):
    """A display of architectures; see `autokit.training.progress.TrialProgress`."""

    _best: Evaluation | None = None

    def trial_finished(self, evaluation: Evaluation) -> None:
        """A trial is over, or was found in the storage."""
        self._count(evaluation.number, evaluation.status)
        if evaluation.score is not None:
            self._best = best_of([self._best or evaluation, evaluation])
            self.incumbent = self._best.score, self._best.number
