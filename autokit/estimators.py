"""KerasClassifier and KerasRegressor: a Keras 3 model as a scikit-learn estimator."""

from __future__ import annotations

from typing import Self

from sklearn.utils._param_validation import StrOptions

from autokit.base import BaseKerasClassifier, BaseKerasRegressor
from autokit.fitting import PARAMETERS_DOC, KerasParameters, missing_activation
from autokit.training import Batch, class_weights


class KerasClassifier(KerasParameters, BaseKerasClassifier):
    __doc__ = (
        """A Keras model as a scikit-learn classifier.

    Whole epochs run inside one compiled function that equal architectures share, so a second fit
    does not trace again.
"""
        + PARAMETERS_DOC.format(
            loss="sparse categorical cross-entropy, or binary for a model with one output",
            extra="""
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss; "balanced" is ``n_samples / (n_classes * count)``.""",
        )
        + """
    Attributes
    ----------
    model_ : keras.Model
        The trained model, from encoded rows to probabilities (or to what a model of yours gives).
    classes_ : np.ndarray of shape (n_classes,)
    history_ : dict of list of float
        Loss and accuracy per epoch.
    privacy_spent_ : PrivacySpent
        Only with `privacy`: `epsilon` spent so far, the noise and the clipping norm.
    encoder_, target_, output_activation_, n_features_in_, feature_names_in_
        See `autokit.base.KerasEstimator`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from autokit import KerasClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = KerasClassifier(epochs=40, random_state=0).fit(X, y)
    >>> bool(clf.score(X, y) > 0.9)
    True
    """
    )

    _parameter_constraints: dict = {
        **KerasParameters._parameter_constraints,
        "class_weight": [None, StrOptions({"balanced"}), dict],
    }
    _default_activation = "softmax"
    _stratifies = True

    def __init__(
        self,
        model=None,
        *,
        epochs=50,
        batch_size=32,
        optimizer="adam",
        learning_rate=None,
        loss=None,
        validation_fraction=None,
        early_stopping=False,
        class_weight=None,
        callbacks=None,
        compression=None,
        privacy=None,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.loss = loss
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.compression = compression
        self.privacy = privacy
        self.random_state = random_state
        self.verbose = verbose

    def partial_fit(self, X, y, classes=None, sample_weight=None) -> Self:
        """Train one more epoch on these rows, going on from what was learnt before.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`; the first call fixes the columns and the scaling.
        classes : array of shape (n_classes,), default=None
            All classes that will ever come; needed in the first call only, and only if `y` does
            not hold all of them.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight, classes)

    def _n_outputs(self, data):
        return len(self.classes_)

    def _accepts_width(self, width, n_outputs):
        return width == n_outputs or (width == 1 and n_outputs == 2)

    def _build(self, data, seed):
        model = super()._build(data, seed)
        self.output_activation_ = missing_activation(model, self._loss())
        return model

    def _weighted(self, data):
        weight = class_weights(self.class_weight, data.y, self.classes_)
        if weight is None:
            return data
        return Batch(data.x, data.y, weight if data.weight is None else weight * data.weight)


class KerasRegressor(KerasParameters, BaseKerasRegressor):
    __doc__ = (
        """A Keras model as a scikit-learn regressor, for one target or several.
"""
        + PARAMETERS_DOC.format(loss="the mean squared error", extra="")
        + """
    Attributes
    ----------
    model_ : keras.Model
        The trained model, from encoded rows to targets (standardised if ``model=None``).
    history_ : dict of list of float
        Loss per epoch.
    privacy_spent_ : PrivacySpent
        Only with `privacy`: `epsilon` spent so far, the noise and the clipping norm.
    encoder_, target_, n_features_in_, feature_names_in_
        See `autokit.base.KerasEstimator`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from autokit import KerasRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = KerasRegressor(epochs=20, random_state=0).fit(X, y)
    >>> reg.predict(X[:2]).shape
    (2,)
    """
    )

    _default_activation = "linear"
    _stratifies = False

    def __init__(
        self,
        model=None,
        *,
        epochs=50,
        batch_size=32,
        optimizer="adam",
        learning_rate=None,
        loss=None,
        validation_fraction=None,
        early_stopping=False,
        callbacks=None,
        compression=None,
        privacy=None,
        random_state=None,
        verbose=0,
    ):
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.loss = loss
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.callbacks = callbacks
        self.compression = compression
        self.privacy = privacy
        self.random_state = random_state
        self.verbose = verbose

    def _n_outputs(self, data):
        return data.y.shape[1]
