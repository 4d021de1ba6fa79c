"""FewShotLearner: a classifier that learns new classes from a handful of rows."""

from __future__ import annotations

import textwrap
import warnings
from typing import Self

import numpy as np
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from autokit.base import BaseKerasClassifier
from autokit.meta.distances import COSINE, EUCLIDEAN
from autokit.meta.lifecycle import EpisodeScores, FewShotEstimator, FewShotWarning
from autokit.meta.methods import METHODS
from autokit.meta.parameters import PARAMETERS_DOC
from autokit.meta.protocols import Support
from autokit.preprocessing import ClassLabels, check_lengths
from autokit.preprocessing.targets import shortened

_METHOD_NAMES = ("\n" + 8 * " ").join(textwrap.wrap(", ".join(map(repr, METHODS)), 84))


class FewShotLearner(FewShotEstimator, BaseKerasClassifier):
    __doc__ = (
        """A classifier that learns new classes from a handful of rows.

    `fit` meta-trains: it practises on thousands of small tasks made of the classes it is given,
    and then learns all of these, so that `predict` answers as any classifier does. `adapt` takes
    a few rows of classes that were never seen and gives a new learner for them, at once.
"""
        + PARAMETERS_DOC.format(
            default="prototypical",
            methods=_METHOD_NAMES,
            way="""
    n_way : int, default=5
        Classes of a task in training. A learner adapts to any other number as well; methods that
        compare embeddings learn more from more classes than they will meet. With all classes of y
        every task is the same one, to which a network overfits: let ``augment="rotations"`` make
        more, or take fewer.""",
            k_shot=1,
            n_query=5,
            each="each class",
            distance="""
    distance : {"euclidean", "cosine"} or None, default=None
        Between embeddings, of "prototypical" and "finetune"; None takes the method's own.""",
            classes="classes",
            score="the accuracy",
        )
        + """
    Attributes
    ----------
    classes_ : np.ndarray of shape (n_classes,)
        Labels that `predict` answers with: those of the last `fit`, `adapt` or `fit_classes`.
    model_ : keras.Model
        A plain model for these classes, from an encoded row to logits (or, of "matching",
        probabilities). It exports like any other.
    method_ : MetaLearner
    prototypes_ : np.ndarray of shape (n_classes, n_features)
        Each class's mean embedding, of "prototypical" and of "finetune" with centroids. Their
        files can learn new classes, see `autokit.deploy.prototypes`.
    n_episodes_ : int
        Tasks trained on.
    history_ : dict of list of float
        Per epoch: loss and accuracy on queries, val_accuracy on classes held out, and episodes.
    meta_classes_ : np.ndarray
        Labels of `fit`.
    encoder_, target_, n_features_in_, feature_names_in_
        See `autokit.base.KerasEstimator`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from autokit import FewShotLearner
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X.reshape(-1, 8, 8)
    >>> known, new = y < 5, y >= 5
    >>> learner = FewShotLearner(n_episodes=100, random_state=0).fit(X[known], y[known])
    >>> five_each = [i for k in range(5, 10) for i in (y == k).nonzero()[0][:5]]
    >>> for_new = learner.adapt(X[five_each], y[five_each])
    >>> for_new.classes_.tolist()
    [5, 6, 7, 8, 9]
    >>> bool(for_new.score(X[new], y[new]) > 0.7)
    True
    """
    )

    _parameter_constraints: dict = {
        **FewShotEstimator._parameter_constraints,
        "distance": [None, StrOptions({EUCLIDEAN, COSINE})],
    }
    _classifies = True

    meta_classes_: np.ndarray

    def __init__(
        self,
        method="prototypical",
        *,
        encoder="auto",
        n_way=5,
        k_shot=1,
        n_query=5,
        n_episodes=1000,
        meta_batch_size=None,
        inner_steps=None,
        inner_learning_rate=None,
        adaptation_steps=None,
        first_order=None,
        outer_learning_rate=None,
        transductive=False,
        distance=None,
        augment=None,
        validation_fraction=None,
        early_stopping=False,
        storage=None,
        random_state=None,
        verbose=0,
    ):
        self.method = method
        self.encoder = encoder
        self.n_way = n_way
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
        self.distance = distance
        self.augment = augment
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.storage = storage
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y) -> Self:
        """Meta-train on tasks made of these classes, then learn all of them.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
            As for `autokit.KerasClassifier.fit`.
        y : array of shape (n_samples,)

        Returns
        -------
        self

        Raises
        ------
        ValueError
            `X`, `y` or a parameter is not what it must be; fewer classes than `n_way`, or a class
            with fewer rows than ``k_shot + n_query`` (but a class of one row, of which a warning
            tells, is learnt in the end only); a `storage` of another training.
        TrainingDiverged
            The loss stopped being finite.
        """
        return super().fit(X, y)

    def _train(self, data) -> None:
        self._learnt = self._meta_train(data, data.y, self.classes_.tolist(), len(self.classes_))
        self.meta_classes_ = self.classes_
        self.output_activation_ = None if self.method_.gives_probabilities else "softmax"
        self._learn_support(data.x, data.y, len(self.classes_))

    def adapt(self, X_support, y_support) -> Self:
        """A new learner for new classes, from a few rows of each; this one stays as it is.

        Parameters
        ----------
        X_support : array or DataFrame of shape (n_samples, ...)
            Rows as in `fit`: any number of classes, and any number of rows of each.
        y_support : array of shape (n_samples,)

        Returns
        -------
        FewShotLearner
            Fitted: it predicts, exports and is saved like any other.

        Raises
        ------
        ValueError
            Rows are of another shape than in `fit`, or `y_support` has one class only.
        """
        other = self._copy_for_new_task()
        rows = other._encode(X_support)
        check_lengths(rows, y_support)
        target = ClassLabels().fit(y_support, type(self).__name__)
        other.target_, other.classes_ = target, target.classes_
        other._learn_support(rows, target.encode(y_support), len(target.classes_))
        return other

    def fit_classes(self, X, y) -> Self:
        """Add classes, or more rows of known ones, without training again.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
        y : array of shape (n_samples,)
            One class is enough.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As of `adapt`, or the labels are of another kind than ``classes_``. Nothing has
            changed then.
        """
        check_is_fitted(self)
        name, learnt = type(self).__name__, self._learnt
        rows = self._encode(X)
        check_lengths(rows, y)
        found = ClassLabels().fit(y, name, n_least=1)
        if (found.classes_.dtype.kind in "OUS") != (self.classes_.dtype.kind in "OUS"):
            raise ValueError(
                f"y has labels such as {found.classes_.tolist()[0]!r}, but the known ones are "
                f"{shortened(self.classes_.tolist())}; use one kind of label."
            )
        target = ClassLabels().fit(np.concatenate([self.classes_, found.classes_]), name)
        if learnt.method.embeds:
            rows = self._embedded(rows)
        known, codes = self._support, target.encode(self.classes_)
        both = Support(
            np.concatenate([known.x, rows]),
            np.concatenate([codes[known.y], target.encode(y)]),
            np.concatenate([known.weight, np.ones(len(rows), np.float32)]),
        )
        self._meet(learnt.method.kept(both), len(target.classes_))
        self.target_, self.classes_ = target, target.classes_
        return self

    @property
    def prototypes_(self) -> np.ndarray:
        """Each class's mean embedding; only of methods that compare rows with these."""
        if self.by_prototypes() is None:
            raise AttributeError(
                f"{type(self.method_).__name__} compares rows with no prototypes; "
                "method='prototypical' does, and FineTune(head='centroid')."
            )
        return self._support.x

    def by_prototypes(self):
        """How rows are compared with `prototypes_`, for files that learn new classes.

        Returns
        -------
        Prototypical or None
            Of which files use `similarities` and `embedder`. None if the method has no prototypes.
        """
        check_is_fitted(self)
        return self.method_.by_prototypes()

    def evaluate(
        self, X, y, *, n_way=None, k_shot=None, n_query=None, n_episodes=600, random_state=0
    ) -> EpisodeScores:
        """Accuracy on tasks made of classes that were not in training.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
        y : array of shape (n_samples,)
            Other classes than ``meta_classes_``: a warning names those that are not.
        n_way, k_shot, n_query : int, default=None
            None takes those of the training.
        n_episodes : int, default=600
        random_state : int, default=0
            Of the tasks.

        Returns
        -------
        EpisodeScores
            Its ``mean``, ``interval`` of 95 %, and every task's accuracy.

        Raises
        ------
        ValueError
            Too few classes, or a class with too few rows.
        """
        check_is_fitted(self)
        layout = self._asked_layout(n_way, k_shot, n_query)
        rows = self._encode(X)
        check_lengths(rows, y)
        labels = ClassLabels().fit(y, type(self).__name__)
        seen = np.intersect1d(labels.classes_, self.meta_classes_).tolist()
        if seen:
            warnings.warn(
                f"{len(seen)} of {len(labels.classes_)} classes, such as {seen[0]!r}, have the "
                "labels of classes that were trained on: accuracy on these is no measure of "
                "learning new ones.",
                FewShotWarning,
                stacklevel=2,
            )
        codes = labels.encode(y)
        names = labels.classes_.tolist()
        return self._episode_scores(rows, None, codes, names, layout, n_episodes, random_state)
