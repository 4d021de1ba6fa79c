"""One lifecycle for every estimator: validate, encode, build, train, predict, save.

A subclass says how a model is made from encoded rows (`_train`); everything else, from the checks
of the input to the compiled prediction, is here and shared.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from autokit._backend import keras, tf
from autokit.preprocessing import ClassLabels, RegressionTarget, check_lengths, make_encoder
from autokit.training import Batch, Constraints, Forward, Held
from autokit.training.state import assign, generators, values_of


class KerasEstimator(BaseEstimator):
    """What all estimators share; subclass `BaseKerasClassifier` or `BaseKerasRegressor`.

    A subclass implements ``_train(data)``, which sets ``model_`` and ``history_`` from a `Batch`
    of encoded rows, and its ``__init__`` with a parameter ``random_state``.

    Attributes
    ----------
    model_ : keras.Model
        A plain Keras model from encoded rows to outputs.
    encoder_ : TableEncoder or ArrayEncoder
        From the user's rows to the model's, see `autokit.preprocessing`.
    target_ : ClassLabels or RegressionTarget
        From the user's targets to the model's and back.
    history_ : dict of list of float
        A value per epoch: loss, accuracy, val_loss, val_accuracy as far as they apply.
    n_features_in_ : int
    feature_names_in_ : np.ndarray of str
        Only if X had column names.
    held_ : Held
        Only after compression: zeros and shared weights that further training keeps.
    compression_report_ : CompressionReport
        Only after compression, see `autokit.compression`.
    """

    _parameter_constraints: dict = {}
    compression: Any = None

    model_: keras.Model
    history_: dict[str, list[float]]
    n_features_in_: int

    def fit(self, X, y, sample_weight=None) -> Self:
        """Fit to rows `X` and targets `y`.

        Parameters
        ----------
        X : array or DataFrame of shape (n_samples, ...)
            A table (n_samples, n_features) of numbers, or a DataFrame whose columns may be
            numbers, text or categories with missing values; images (n_samples, height, width) or
            (n_samples, height, width, channels); sequences (n_samples, steps, features).
        y : array of shape (n_samples,) or, for regression, (n_samples, n_outputs)
        sample_weight : array of shape (n_samples,), default=None
            Non-negative; a row of weight 0 counts as absent.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            `X`, `y` or a parameter is not what it must be; the message names it and the cure.
        TrainingDiverged
            The loss stopped being finite.
        """
        self._validate_params()
        for name in ("held_", "compression_report_"):
            self.__dict__.pop(name, None)
        data = self._encode_new(X, y, sample_weight)
        self._train(data)
        if self.compression is not None:
            kept, _, _ = self._drop_weightless(X, y, sample_weight)
            self.compression.apply(self, kept, data)
        self._forward = Forward(self.model_, self._finish())
        return self

    def _train(self, data: Batch) -> None:
        raise NotImplementedError(f"{type(self).__name__} must implement _train")

    def training_loss(self) -> keras.losses.Loss:
        """The loss that further training of `model_` minimises."""
        raise NotImplementedError

    def _constraints(self) -> Constraints | None:
        held: Held | None = getattr(self, "held_", None)
        return None if held is None else held.constraints()

    def _encode_new(self, X, y, sample_weight, classes=None) -> Batch:
        """Learn the encodings and return the encoded training rows."""
        name = type(self).__name__
        if y is None:
            raise ValueError(
                f"{name} requires y to be passed, but the target y is None; pass the targets as "
                "the second argument of fit."
            )
        encoder = make_encoder(X, standardize=self._standardizes())
        X, y, weight = self._drop_weightless(X, y, sample_weight)
        rows = encoder.fit(X).encode(X, name)
        check_lengths(rows, y, weight)
        targets = self._encode_new_target(y, classes)
        self.encoder_ = encoder
        self.n_features_in_ = encoder.n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(encoder, "feature_names_in_"):
            self.feature_names_in_ = encoder.feature_names_in_
        return Batch(rows, targets, weight)

    def _encode_more(self, X, y, sample_weight) -> Batch:
        """Encode further rows as the first ones were."""
        X, y, weight = self._drop_weightless(X, y, sample_weight)
        rows = self._encode(X)
        check_lengths(rows, y, weight)
        return Batch(rows, self.target_.encode(y, type(self).__name__), weight)

    def _drop_weightless(self, X, y, sample_weight):
        if sample_weight is None:
            return X, y, None
        check_lengths(X, y, sample_weight)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float32, ensure_non_negative=True)
        if weight.all():
            return X, y, weight
        kept = weight > 0
        if not kept.any():
            raise ValueError(
                "The 'sample_weight' parameter must have a positive weight; all of them are 0. "
                "Leave it out to weigh all rows alike."
            )
        return _safe_indexing(X, kept), _safe_indexing(y, kept), weight[kept]

    def _encode_new_target(self, y, classes) -> np.ndarray:
        raise NotImplementedError

    def _standardizes(self) -> bool:
        """Whether inputs (and regression targets) are scaled before the model sees them."""
        return True

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _encode(self, X) -> np.ndarray:
        if not hasattr(self, "model_"):
            check_is_fitted(self)
        return self.encoder_.encode(X, type(self).__name__)

    def _outputs(self, X) -> np.ndarray:
        rows = self._encode(X)
        forward = getattr(self, "_forward", None)
        if forward is None or forward.model is not self.model_:
            forward = self._forward = Forward(self.model_, self._finish())
        return forward(rows)

    def _finish(self):
        """What the compiled forward does after the model."""
        return self.output_graph

    def output_graph(self, outputs: tf.Tensor) -> tf.Tensor:
        """From the model's outputs to what the user sees, in TensorFlow operations.

        Parameters
        ----------
        outputs : tf.Tensor of shape (n_rows, n_outputs)

        Returns
        -------
        tf.Tensor
            Class probabilities (n_rows, n_classes), or predictions in the target's own units
            (n_rows, n_outputs). Exported files end in it.
        """
        raise NotImplementedError

    def __getstate__(self):
        # compiled functions cannot be pickled and are cheap to make again
        state = super().__getstate__().copy()
        state.pop("_forward", None)
        if "model_" in state:
            # Keras leaves the states of dropout's generators out of its files
            state["_seed_states"] = values_of(generators(self.model_))
        return state

    def __setstate__(self, state):
        seed_states = state.pop("_seed_states", [])
        super().__setstate__(state)
        if seed_states:
            assign(generators(self.model_), seed_states)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.three_d_array = True
        tags.target_tags.required = True
        return tags


class BaseKerasClassifier(ClassifierMixin, KerasEstimator):
    """A classifier around a Keras model.

    Attributes
    ----------
    classes_ : np.ndarray of shape (n_classes,)
        Sorted labels.
    output_activation_ : {"softmax", "sigmoid"} or None
        What turns the model's outputs into probabilities; None if they are.
    """

    target_: ClassLabels
    classes_: np.ndarray
    output_activation_: str | None

    def predict(self, X) -> np.ndarray:
        """The most probable class of each row, shape (n_samples,)."""
        chosen = self._outputs(X).argmax(axis=1)
        return self.classes_[chosen]

    def predict_proba(self, X) -> np.ndarray:
        """Class probabilities, float32 of shape (n_samples, n_classes), as in ``classes_``."""
        return self._outputs(X)

    def training_loss(self) -> keras.losses.Loss:
        is_binary = self.model_.output_shape[-1] == 1
        losses = keras.losses
        kind = losses.BinaryCrossentropy if is_binary else losses.SparseCategoricalCrossentropy
        return kind(from_logits=getattr(self, "output_activation_", None) is not None)

    training_loss.__doc__ = KerasEstimator.training_loss.__doc__

    def _encode_new_target(self, y, classes) -> np.ndarray:
        self.target_ = ClassLabels().fit(y if classes is None else classes, type(self).__name__)
        self.classes_ = self.target_.classes_
        return self.target_.encode(y)

    def output_graph(self, outputs: tf.Tensor) -> tf.Tensor:
        activation = getattr(self, "output_activation_", None)
        if activation is not None:
            outputs = getattr(tf.nn, activation)(outputs)
        if outputs.shape[-1] == 1:
            outputs = tf.concat([1.0 - outputs, outputs], axis=-1)
        return tf.cast(outputs, tf.float32)

    output_graph.__doc__ = KerasEstimator.output_graph.__doc__


class BaseKerasRegressor(RegressorMixin, KerasEstimator):
    """A regressor around a Keras model."""

    target_: RegressionTarget

    def predict(self, X) -> np.ndarray:
        """Predictions of shape (n_samples,), or (n_samples, n_outputs) as y had."""
        outputs = self._outputs(X)
        return self.target_.decode(outputs)

    def _finish(self) -> Any:
        return None  # decoded in NumPy's float64: targets may have large offsets

    def training_loss(self) -> keras.losses.Loss:
        return keras.losses.MeanSquaredError()

    training_loss.__doc__ = KerasEstimator.training_loss.__doc__

    def _encode_new_target(self, y, classes) -> np.ndarray:
        self.target_ = RegressionTarget(self._standardizes()).fit(y, type(self).__name__)
        return self.target_.encode(y)

    def output_graph(self, outputs: tf.Tensor) -> tf.Tensor:
        return self.target_.graph(tf.cast(outputs, tf.float32))

    output_graph.__doc__ = KerasEstimator.output_graph.__doc__

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
