"""What an estimator knows about its own forgetting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from autokit.continual import metrics
from autokit.continual.learner import Learnt
from autokit.training.forward import answers

if TYPE_CHECKING:
    import matplotlib.figure


class Scores:
    """Scores on held-out rows of every experience, after each of them."""

    _learnt: Learnt
    _held_out: list[dict]
    _scores: list[np.ndarray]
    _untrained: list[float]

    _answering: Any
    _score_outputs: Any

    def _scored(self, learnt: Learnt, part: dict, models: dict | None = None) -> float:
        """The score on held-out rows; NaN if there are none. `models` has a network by head."""
        if len(part["x"]) == 0:
            return float("nan")
        models, group = {} if models is None else models, part["group"]
        if group not in models:
            models[group] = self._answering(learnt, group)
        outputs = answers(models[group], part["x"])
        return self._score_outputs(learnt.heads, outputs, part)

    def _note_scores(self, zero_shot: float, untrained: float) -> None:
        scores = [row.copy() for row in self._scores]
        if scores:
            scores[-1] = np.append(scores[-1], zero_shot)
        models: dict = {}
        row = [self._scored(self._learnt, part, models) for part in self._held_out]
        self._scores = [*scores, np.array(row)]
        self._untrained = [*self._untrained, untrained]

    @property
    def score_matrix_(self) -> np.ndarray:
        """``[i, j]``: score on held-out rows of experience j after learning i; NaN unmeasured."""
        check_is_fitted(self)
        matrix = np.full((len(self._scores),) * 2, np.nan)
        for i, row in enumerate(self._scores):
            matrix[i, : len(row)] = row
        return matrix

    @property
    def average_score_(self) -> float:
        """Mean score on all experiences now, see `autokit.continual.metrics`."""
        return metrics.average_score(self.score_matrix_)

    @property
    def forgetting_(self) -> float:
        """Mean fall from the best score ever, see `autokit.continual.metrics.forgetting`."""
        return metrics.forgetting(self.score_matrix_)

    @property
    def backward_transfer_(self) -> float:
        """Mean change on experiences since they were learnt, see `autokit.continual.metrics`."""
        return metrics.backward_transfer(self.score_matrix_)

    @property
    def forward_transfer_(self) -> float:
        """Mean head start on experiences before they came, see `autokit.continual.metrics`."""
        return metrics.forward_transfer(self.score_matrix_, np.array(self._untrained))

    def plot_forgetting(self, path=None, ax=None) -> matplotlib.figure.Figure:
        """Draw the score on each experience over time, see `autokit.continual.plot_forgetting`.

        Parameters
        ----------
        path : str, path-like or None, default=None
            Where to save the picture; its ending names the format.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from autokit.continual.plot import plot_forgetting

        return plot_forgetting(self, path, ax)
