"""ContinualModel: a classifier that learns task after task."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.utils._param_validation import StrOptions

from autokit.base import BaseKerasClassifier
from autokit.continual.heads import ClassHeads
from autokit.continual.lifecycle import ContinualEstimator, dressed
from autokit.continual.parameters import ATTRIBUTES_DOC, PARAMETERS_DOC, STRATEGY_NAMES
from autokit.estimators import KerasClassifier
from autokit.preprocessing import ClassLabels
from autokit.preprocessing.targets import shortened


class ContinualModel(ContinualEstimator, BaseKerasClassifier):
    __doc__ = (
        """A classifier that learns task after task, and knows how much it forgot.

    Each `partial_fit` is one experience: when it is over, the strategy notes what must be kept.
    New classes may come at any time. Saved and loaded in between, it goes on exactly as if it
    had not stopped.
"""
        + PARAMETERS_DOC.format(
            strategies=STRATEGY_NAMES,
            auto='"lwf" in the scenario "task" and "replay" otherwise',
            scenarios='{"auto", "task", "domain", "class"}',
            others='"domain": the same\n        classes each time. "class": new classes, to be '
            "told from all the old ones.",
        )
        + """
    Attributes
    ----------
    classes_ : np.ndarray of shape (n_classes,)
        All labels so far, sorted."""
        + ATTRIBUTES_DOC.format(
            answers=", a logit per class (of each head)",
            score="accuracy",
            average="average_accuracy_, average_score_",
            accuracy=" and accuracy",
        )
        + """
    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from autokit import ContinualModel
    >>> X, y = load_digits(return_X_y=True)
    >>> model = ContinualModel(strategy="replay", random_state=0)
    >>> for first in (0, 5):
    ...     rows = (y >= first) & (y < first + 5)
    ...     model = model.partial_fit(X[rows], y[rows])
    >>> model.accuracy_matrix_.shape
    (2, 2)
    >>> bool(model.average_accuracy_ > 0.8)
    True
    """
    )

    _parameter_constraints: dict = {
        **ContinualEstimator._parameter_constraints,
        "scenario": [StrOptions({"auto", "task", "domain", "class"})],
    }
    _classifies = True

    def partial_fit(self, X, y, task=None, classes=None) -> Self:
        """Learn one experience, going on from those before.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
            With the columns of the first experience.
        y : array of shape (n_samples,)
            Labels; new ones may come at any time.
        task : int or str, default=None
            The experience's task; one that was learnt before goes on with its head.
        classes : array of shape (n_classes,), default=None
            All classes known from now on (of the task, where tasks have heads of their own), if
            `y` does not hold them yet.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            An argument is not what it must be; nothing has changed then.
        TrainingDiverged
            The loss stopped being finite; nothing has changed then.
        """
        return self._learn(X, y, task, classes)

    def predict(self, X, task=None) -> np.ndarray:
        """The most probable class of each row, shape (n_samples,).

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
        task : int, str, or array of shape (n_samples,), default=None
            Whose head answers. Needed where tasks have heads of their own.
        """
        chosen = self.predict_proba(X, task).argmax(axis=1)
        return self.classes_[chosen]

    def predict_proba(self, X, task=None) -> np.ndarray:
        """Class probabilities, float32 of shape (n_samples, n_classes), as in ``classes_``.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
        task : int, str, or array of shape (n_samples,), default=None
            Whose head answers; classes of other tasks have probability 0.
        """
        rows = self._encode(X)
        asked = self._asked(task, len(rows))
        if asked is None:
            return self._most_confident(rows)
        answer = np.zeros((len(rows), len(self.classes_)), np.float32)
        for group in np.unique(asked):
            chosen = asked == group
            outputs = self._outputs_of(rows[chosen], int(group))
            answer[chosen] = self._probabilities(outputs, int(group))
        return answer

    def score(self, X, y, task=None) -> float:
        """Accuracy.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
        y : array of shape (n_samples,)
        task : int, str, or array of shape (n_samples,), default=None
            As for `predict`.
        """
        return float(np.mean(self.predict(X, task) == np.asarray(y)))

    def for_task(self, task=None) -> KerasClassifier:
        """The part of this model that answers for one task, as a classifier of its own.

        Parameters
        ----------
        task : int or str, default=None
            Not needed where all tasks share a head.

        Returns
        -------
        KerasClassifier
            Fitted: it predicts, exports and is saved like any other.
        """
        model, group = self._task_model(task)
        part = KerasClassifier(random_state=self.random_state)
        part.model_, part.output_activation_ = model, "softmax"
        part.target_ = ClassLabels().fit(self._learnt.heads.classes[group], n_least=1)
        part.classes_ = part.target_.classes_
        return dressed(self, part)

    @property
    def accuracy_matrix_(self) -> np.ndarray:
        """``[i, j]``: accuracy on held-out rows of experience j after learning experience i."""
        return self.score_matrix_

    @property
    def average_accuracy_(self) -> float:
        """Mean accuracy on all experiences now."""
        return self.average_score_

    def _auto_strategy(self) -> str:
        return "lwf" if self.scenario_ == "task" else "replay"

    def _check_stream(self, y) -> None:
        ClassLabels().fit(y, type(self).__name__)

    def _encode_new_target(self, y, classes) -> np.ndarray:
        known = ClassLabels().fit(y, type(self).__name__, n_least=1)
        self.target_ = known
        if classes is not None:
            self.target_ = ClassLabels().fit(classes, type(self).__name__, n_least=1)
        self.classes_ = self.target_.classes_
        self.output_activation_ = "softmax"
        return self.target_.encode(y, type(self).__name__)

    def _raw_targets(self, codes) -> np.ndarray:
        return self.classes_[codes]

    def _more_targets(self, y, classes, group) -> np.ndarray:
        name = type(self).__name__
        found = ClassLabels().fit(y, name, n_least=1)
        if (found.classes_.dtype.kind in "OUS") != (self.classes_.dtype.kind in "OUS"):
            raise ValueError(
                f"y has labels such as {found.classes_.tolist()[0]!r}, but those learnt before are "
                f"{shortened(self.classes_.tolist())}; use one kind of label."
            )
        labels = found.decode(found.encode(y))
        known = self._learnt.heads.classes
        if classes is not None:
            given = ClassLabels().fit(classes, name, n_least=1).classes_
            former = known[group] if group < len(known) else ()
            lost = [c for c in (*former, *found.classes_) if c not in set(given.tolist())]
            if lost:
                raise ValueError(
                    f"The argument 'classes' is {shortened(given.tolist())} and lacks "
                    f"{lost[0]!r}, which is known already or in y; a list of classes can only "
                    "grow."
                )
        return labels

    def _labels_of(self, targets, classes) -> np.ndarray:
        return np.unique(targets if classes is None else np.asarray(classes))

    def _no_heads(self) -> ClassHeads:
        return ClassHeads()

    def _no_targets(self) -> np.ndarray:
        return self.classes_[:0]

    def _commit(self, learnt, name, group) -> None:
        super()._commit(learnt, name, group)
        self.classes_ = np.unique(np.concatenate(learnt.heads.classes))
        self.target_ = ClassLabels().fit(self.classes_, n_least=1)

    def _probabilities(self, outputs, group) -> np.ndarray:
        heads = self._learnt.heads
        answer = np.zeros((len(outputs), len(self.classes_)), np.float32)
        columns = np.searchsorted(self.classes_, heads.classes[group])
        answer[:, columns] = _softmax(outputs[:, heads.groups == group])
        return answer

    def _most_confident(self, rows) -> np.ndarray:
        """Of all heads the one with the most probable class, row by row."""
        heads = range(len(self._learnt.heads.classes))
        answers = np.stack([self._probabilities(self._outputs_of(rows, g), g) for g in heads])
        best = answers.max(axis=2).argmax(axis=0)
        return answers[best, np.arange(len(rows))]

    def _score_outputs(self, heads, outputs, part) -> float:
        groups = [part["group"]]
        if self.scenario_ != "task" and self.strategy_.task_heads and not self.strategy_.needs_task:
            groups = range(len(heads.classes))  # as `predict` without the task
        guesses, sure = [], []
        for group in groups:
            proba = _softmax(outputs[:, heads.groups == group])
            guesses.append(heads.classes[group][proba.argmax(axis=1)])
            sure.append(proba.max(axis=1))
        chosen = np.stack(guesses)[np.argmax(sure, axis=0), np.arange(len(outputs))]
        return float(np.mean(chosen == part["y"]))


def _softmax(outputs: np.ndarray) -> np.ndarray:
    inside = outputs.astype(np.float32)
    inside = np.exp(inside - inside.max(axis=1, keepdims=True))
    return inside / inside.sum(axis=1, keepdims=True)
