"""Choosing settings by classes that were not seen: a splitter and a scorer for scikit-learn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from autokit.preprocessing import ClassLabels


class ClassDisjointKFold(GroupKFold):
    """Folds that share no class: what is scored was never trained on.

    Parameters
    ----------
    n_splits : int, default=5
        At least 2; no more than there are classes.
    shuffle : bool, default=False
        Whether classes are dealt at random, and not so that folds are of equal size.
    random_state : int, RandomState or None, default=None

    Examples
    --------
    >>> from autokit.meta import ClassDisjointKFold
    >>> y = [0, 0, 1, 1, 2, 2]
    >>> for train, test in ClassDisjointKFold(3).split(y, y):
    ...     print(train.tolist(), test.tolist())
    [0, 1, 2, 3] [4, 5]
    [0, 1, 4, 5] [2, 3]
    [2, 3, 4, 5] [0, 1]
    """

    def split(self, X, y=None, groups=None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of each fold's two sides.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
        y : array-like of shape (n_samples,)
        groups : None
            Not used: the classes are the groups.

        Raises
        ------
        ValueError
            There are fewer classes than folds.
        """
        codes = ClassLabels().fit(y, type(self).__name__).encode(y)
        return super().split(X, y, codes)


@dataclass(frozen=True)
class FewShotScorer:
    """Scores a `FewShotLearner` by its mean accuracy on tasks, for ``scoring=``.

    Parameters
    ----------
    n_way, k_shot, n_query : int, default=None
        None takes the learner's own. `n_way` is no more than the classes of a fold.
    n_episodes : int, default=200
    random_state : int, default=0
        Of the tasks.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import cross_val_score
    >>> from autokit import FewShotLearner
    >>> from autokit.meta import ClassDisjointKFold, FewShotScorer
    >>> X, y = load_digits(return_X_y=True)
    >>> learner = FewShotLearner(n_episodes=50, random_state=0)
    >>> scores = cross_val_score(
    ...     learner, X, y, cv=ClassDisjointKFold(2), scoring=FewShotScorer(5, 1)
    ... )
    >>> bool(scores.min() > 0.3)  # chance is 0.2
    True
    """

    n_way: int | None = None
    k_shot: int | None = None
    n_query: int | None = None
    n_episodes: int = 200
    random_state: int = 0

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """The mean accuracy; higher is better.

        `estimator` may be a pipeline that ends in a learner, or a search over either.
        """
        estimator, X = _learner(estimator, X)
        return estimator.evaluate(
            X,
            y,
            n_way=self.n_way,
            k_shot=self.k_shot,
            n_query=self.n_query,
            n_episodes=self.n_episodes,
            random_state=self.random_state,
        ).mean


def _learner(estimator: Any, X: Any) -> tuple[Any, Any]:
    """The learner in a search or a pipeline, and the rows that it sees."""
    if hasattr(estimator, "best_estimator_"):
        return _learner(estimator.best_estimator_, X)
    if not hasattr(estimator, "steps"):
        return estimator, X
    for _, step in estimator.steps[:-1]:
        if step not in (None, "passthrough"):
            X = step.transform(X)
    return _learner(estimator.steps[-1][1], X)
