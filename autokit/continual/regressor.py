"""ContinualRegressor: a regressor that learns task after task."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import StrOptions

from autokit.base import BaseKerasRegressor
from autokit.continual.heads import NumberHeads
from autokit.continual.lifecycle import ContinualEstimator, dressed
from autokit.continual.parameters import ATTRIBUTES_DOC, PARAMETERS_DOC
from autokit.estimators import KerasRegressor


class ContinualRegressor(ContinualEstimator, BaseKerasRegressor):
    __doc__ = (
        """A regressor that learns task after task, and knows how much it forgot.

    As `ContinualModel`, for numbers: one target or several.
"""
        + PARAMETERS_DOC.format(
            strategies='"naive", "joint", "ewc", "si", "mas", "lwf", "replay", "agem",\n        '
            '"progressive", "packnet"',
            auto='"replay"',
            scenarios='{"auto", "task", "domain"}',
            others='"domain": one head\n        for all.',
        )
        + """
    Attributes
    ----------"""
        + ATTRIBUTES_DOC.format(
            answers=", to scaled targets", score="R2", average="average_score_", accuracy=""
        )
        + """
    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from autokit import ContinualRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = ContinualRegressor(random_state=0).fit(X, y, task_ids=X[:, 1] > 0)
    >>> model.tasks_
    [True, False]
    """
    )

    _parameter_constraints: dict = {
        **ContinualEstimator._parameter_constraints,
        "scenario": [StrOptions({"auto", "task", "domain"})],
    }
    _classifies = False

    def partial_fit(self, X, y, task=None) -> Self:
        """Learn one experience, going on from those before.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
            With the columns of the first experience, which also fixes the scaling of `y`.
        y : array of shape (n_samples,) or (n_samples, n_outputs)
        task : int or str, default=None
            The experience's task; one that was learnt before goes on with its head.

        Returns
        -------
        self
        """
        return self._learn(X, y, task)

    def predict(self, X, task=None) -> np.ndarray:
        """Predictions of shape (n_samples,), or (n_samples, n_outputs) as y had.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
        task : int, str, or array of shape (n_samples,), default=None
            Whose head answers. Needed where tasks have heads of their own.
        """
        rows = self._encode(X)
        asked = self._asked(task, len(rows))
        if asked is None:
            raise ValueError(
                "Each task has a head of its own, and numbers tell nothing of how sure they are; "
                f"pass task=.... Known tasks are {list(dict.fromkeys(self.tasks_))}."
            )
        answer = np.zeros((len(rows), self.target_.n_outputs_), np.float32)
        for group in np.unique(asked):
            chosen = asked == group
            outputs = self._outputs_of(rows[chosen], int(group))
            answer[chosen] = outputs[:, self._learnt.heads.groups == group]
        return self.target_.decode(answer)

    def score(self, X, y, task=None) -> float:
        """The coefficient of determination, R2.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
        y : array of shape (n_samples,) or (n_samples, n_outputs)
        task : int, str, or array of shape (n_samples,), default=None
            As for `predict`.
        """
        return float(r2_score(y, self.predict(X, task)))

    def for_task(self, task=None) -> KerasRegressor:
        """The part of this model that answers for one task, as a regressor of its own.

        Parameters
        ----------
        task : int or str, default=None
            Not needed where all tasks share a head.

        Returns
        -------
        KerasRegressor
            Fitted: it predicts, exports and is saved like any other.
        """
        model, _ = self._task_model(task)
        part = KerasRegressor(random_state=self.random_state)
        part.model_, part.target_ = model, self.target_
        return dressed(self, part)

    def _standardizes(self) -> bool:
        return self.model is None

    def _raw_targets(self, targets) -> np.ndarray:
        return targets

    def _more_targets(self, y, classes, group) -> np.ndarray:
        return self.target_.encode(y, type(self).__name__)

    def _labels_of(self, targets, classes) -> Any:
        return None

    def _no_heads(self) -> NumberHeads:
        return NumberHeads(self.target_.n_outputs_)

    def _no_targets(self) -> np.ndarray:
        return np.zeros((0, self.target_.n_outputs_), np.float32)

    def _score_outputs(self, heads, outputs, part) -> float:
        return float(r2_score(part["y"], outputs[:, heads.groups == part["group"]]))
