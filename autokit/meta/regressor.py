"""FewShotRegressor: learns a new function from a handful of points."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from autokit.base import BaseKerasRegressor
from autokit.meta.lifecycle import EpisodeScores, FewShotEstimator
from autokit.meta.parameters import PARAMETERS_DOC
from autokit.meta.protocols import Layout
from autokit.preprocessing import check_lengths
from autokit.training import Forward

REGRESSING = ("anil", "fomaml", "maml", "meta_sgd", "reptile")


class FewShotRegressor(FewShotEstimator, BaseKerasRegressor):
    __doc__ = (
        """A regressor that learns a new function from a handful of points.

    `fit` meta-trains on many tasks, each a function of its own; `adapt` learns another one from
    its support points. An `inner_learning_rate` of None is 0.01 (of Reptile 0.001): squared errors
    are steeper than losses of classes. With an encoder of yours targets pass as they are, too:
    scale large ones.
"""
        + PARAMETERS_DOC.format(
            default="maml",
            methods=", ".join(map(repr, REGRESSING)),
            way="",
            k_shot=10,
            n_query=10,
            each="a task",
            distance="",
            classes="tasks",
            score="the mean squared error",
        )
        + """
    Attributes
    ----------
    model_ : keras.Model
        A plain model that has adapted to the rows of the last `fit` or `adapt`.
    method_ : MetaLearner
    n_episodes_ : int
        Tasks trained on.
    history_ : dict of list of float
        Per epoch: loss on queries, val_mse on tasks held out (both of the scaled target), and
        episodes.
    encoder_, target_, n_features_in_, feature_names_in_
        See `autokit.base.KerasEstimator`.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit import FewShotRegressor
    >>> rng = np.random.default_rng(0)
    >>> shift = np.repeat(rng.uniform(0, 3, 50), 40)  # 50 functions, 40 points of each
    >>> X = rng.uniform(-3, 3, (2000, 1))
    >>> y = np.sin(X[:, 0] + shift)
    >>> learner = FewShotRegressor(n_episodes=4000, outer_learning_rate=0.003, random_state=0)
    >>> learner = learner.fit(X, y, task_ids=shift)
    >>> points, more = rng.uniform(-3, 3, (2, 10, 1))
    >>> other = learner.adapt(points, np.sin(points[:, 0] + 1.0))
    >>> bool(other.score(more, np.sin(more[:, 0] + 1.0)) > 0.5)  # R2 on other points
    True
    """
    )

    _parameter_constraints: dict = {
        name: constraint
        for name, constraint in FewShotEstimator._parameter_constraints.items()
        if name != "n_way"
    } | {
        "method": [
            StrOptions(set(REGRESSING)),
            HasMethods(["meta_gradient", "adapted"]),
        ]
    }
    _classifies = False
    _default_inner_rate = 0.01
    _group_name = "task"

    def __init__(
        self,
        method="maml",
        *,
        encoder="auto",
        k_shot=10,
        n_query=10,
        n_episodes=1000,
        meta_batch_size=None,
        inner_steps=None,
        inner_learning_rate=None,
        adaptation_steps=None,
        first_order=None,
        outer_learning_rate=None,
        transductive=False,
        validation_fraction=None,
        early_stopping=False,
        storage=None,
        random_state=None,
        verbose=0,
    ):
        self.method = method
        self.encoder = encoder
        self.k_shot = k_shot
        self.n_query = n_query
        self.n_episodes = n_episodes
        self.meta_batch_size = meta_batch_size
        self.inner_steps = inner_steps
        self.inner_learning_rate = inner_learning_rate
        self.adaptation_steps = adaptation_steps
        self.first_order = first_order
        self.outer_learning_rate = outer_learning_rate
        self.transductive = transductive
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.storage = storage
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y, task_ids=None) -> Self:
        """Meta-train on tasks, then adapt to all rows.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
        y : array of shape (n_samples,) or (n_samples, n_outputs)
        task_ids : array of shape (n_samples,), default=None
            The task of each row; None makes all rows one task.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            An argument or a parameter is not what it must be, or a task has fewer rows than
            ``k_shot + n_query``.
        TrainingDiverged
            The loss stopped being finite.
        """
        self._validate_params()
        data = self._encode_new(X, y, None)
        tasks, groups = _groups(task_ids, len(data))
        n_outputs = data.y.shape[1]
        self._learnt = self._meta_train(data, groups, tasks, n_outputs)
        self._learn_support(data.x, data.y, n_outputs)
        self._forward = Forward(self.model_, self._finish())
        return self

    def _method(self):
        method = super()._method()
        if not method.regresses:
            raise ValueError(
                f"The 'method' parameter {type(method).__name__} compares classes and cannot "
                f"learn numbers; take one of {', '.join(map(repr, REGRESSING))}."
            )
        return method

    def _layout(self) -> Layout:
        return Layout(1, int(self.k_shot), int(self.n_query))

    def _turns(self) -> int:
        return 1

    def adapt(self, X_support, y_support) -> Self:
        """A new learner for another task, from its support points; this one stays as it is.

        Parameters
        ----------
        X_support : array or DataFrame of shape (n_samples, ...)
        y_support : array of shape (n_samples,) or (n_samples, n_outputs)

        Returns
        -------
        FewShotRegressor
            Fitted: it predicts, exports and is saved like any other.
        """
        other = self._copy_for_new_task()
        rows = other._encode(X_support)
        check_lengths(rows, y_support)
        targets = self.target_.encode(y_support, type(self).__name__)
        other._learn_support(rows, targets, targets.shape[1])
        return other

    def evaluate(
        self, X, y, task_ids, *, k_shot=None, n_query=None, n_episodes=600, random_state=0
    ) -> EpisodeScores:
        """The mean squared error on tasks, each learnt from `k_shot` of its points.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
        y : array of shape (n_samples,) or (n_samples, n_outputs)
        task_ids : array of shape (n_samples,)
            Other tasks than those of `fit`, for a measure of learning new ones.
        k_shot, n_query : int, default=None
            None takes those of the training.
        n_episodes : int, default=600
        random_state : int, default=0
            Of the tasks.

        Returns
        -------
        EpisodeScores
            In the target's own units, squared.
        """
        check_is_fitted(self)
        layout = self._asked_layout(None, k_shot, n_query)
        rows = self._encode(X)
        targets = self.target_.encode(y, type(self).__name__)
        check_lengths(rows, targets)
        tasks, groups = _groups(task_ids, len(rows))
        return self._episode_scores(rows, targets, groups, tasks, layout, n_episodes, random_state)


def _groups(task_ids, n_rows: int) -> tuple[list, np.ndarray]:
    """Names of tasks, and each row's number among them."""
    if task_ids is None:
        return [0], np.zeros(n_rows, np.int32)
    tasks = np.asarray(task_ids)
    if tasks.ndim != 1:
        raise ValueError(
            f"task_ids must be of shape (n_samples,), the task of each row; got {tasks.shape}."
        )
    check_lengths(np.empty(n_rows), tasks)
    names, groups = np.unique(tasks, return_inverse=True)
    return names.tolist(), groups.astype(np.int32)
