"""A small network that learns what a large one, or any other classifier, answers."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval

from autokit._backend import keras, tf
from autokit.compression.method import CompressionMethod, Outcome, checked_estimator
from autokit.training import Batch, Forward
from autokit.training.objectives import soft_cross_entropy


@dataclass(kw_only=True, eq=False, repr=False)
class Distill(CompressionMethod):
    """Train a network further on a teacher's answers.

    For a classifier, ``loss = (1 - weight) CE(y, p) + weight T^2 CE(q_T(teacher), q_T(p))`` with
    ``q_T = softmax(log p / T)`` (Hinton et al. 2015, section 2); for a regressor, the loss
    against ``(1 - weight) y + weight teacher``. The teacher answers once, before training.

    Parameters
    ----------
    teacher : estimator or keras.Model
        Fitted, with ``predict_proba`` (of the same classes) or, for regression, ``predict``: one
        of autokit, of scikit-learn, or a pipeline. For a plain model, a model of the same rows
        and outputs.
    weight : float in [0, 1], default=0.7
        Share of the teacher in the loss.
    temperature : float > 0, default=3.0
        Softens both distributions; only for classifiers.
    epochs : int, default=30
    batch_size, learning_rate, validation_fraction, max_score_drop, random_state
        See `CompressionMethod`.

    References
    ----------
    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """

    teacher: Any = None
    weight: float = 0.7
    temperature: float = 3.0
    epochs: int = 30

    _parameter_constraints = {
        **CompressionMethod._parameter_constraints,
        "teacher": "no_validation",
        "weight": [Interval(Real, 0, 1, closed="both")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def _compress(self, task):
        answers = self._answers(task)
        train = task.train
        if task.classifies:
            targets = np.column_stack([train.y.reshape(len(train), -1), answers])
            loss = DistillationLoss(
                weight=self.weight,
                temperature=self.temperature,
                from_logits=bool(task.loss.get_config().get("from_logits")),
            )
        else:
            answers = task.estimator.target_.encode(answers) if task.estimator else answers
            targets = (1 - self.weight) * train.y + self.weight * answers.reshape(train.y.shape)
            loss = None
        taught = Batch(train.x, targets.astype(np.float32), train.weight)
        task.tune(self.epochs, loss=loss, train=taught)
        return Outcome(task.model, task.held, {"teacher": type(self.teacher).__name__})

    def _answers(self, task) -> np.ndarray:
        """What the teacher says of the training rows."""
        if isinstance(self.teacher, keras.Model):
            from_logits = task.loss.get_config().get("from_logits")
            return Forward(self.teacher, tf.nn.softmax if from_logits else None)(task.train.x)
        needed = "predict_proba" if task.classifies else "predict"
        if not hasattr(self.teacher, needed):
            raise ValueError(
                f"teacher must be a fitted estimator with {needed}, got "
                f"{type(self.teacher).__name__}."
            )
        if not task.classifies:
            return np.asarray(self.teacher.predict(task.rows), np.float32)
        if task.train.y.ndim != 1:
            raise ValueError("y must hold one class a row to distil, not several columns.")
        answers = np.asarray(self.teacher.predict_proba(task.rows), np.float32)
        if task.estimator is None:
            return answers
        wanted, classes = list(task.estimator.classes_), list(self.teacher.classes_)
        if sorted(map(str, wanted)) != sorted(map(str, classes)):
            raise ValueError(
                f"teacher knows the classes {classes[:10]}, the student {wanted[:10]}; both must "
                "be fitted to the same."
            )
        return answers[:, [classes.index(c) for c in wanted]]


@keras.saving.register_keras_serializable("autokit")
class DistillationLoss(keras.losses.Loss):
    """Cross-entropy to the labels, mixed with that to a teacher's softened probabilities.

    Parameters
    ----------
    weight : float in [0, 1]
        Share of the teacher.
    temperature : float > 0
    from_logits : bool
        Whether outputs are logits; probabilities otherwise. One output is the second class's.

    Notes
    -----
    Targets are of shape (batch, 1 + n_classes): the class, and the teacher's probabilities.
    """

    def __init__(self, weight=0.5, temperature=2.0, from_logits=False, **options):
        super().__init__(**options)
        self.weight, self.temperature, self.from_logits = weight, temperature, from_logits

    def call(self, y_true, y_pred):
        labels, teacher = tf.cast(y_true[:, 0], tf.int32), y_true[:, 1:]
        y_pred = tf.cast(y_pred, tf.float32)
        if y_pred.shape[-1] == 1:
            # log p of both classes up to a constant, or their probabilities
            other = tf.zeros_like(y_pred) if self.from_logits else 1.0 - y_pred
            y_pred = tf.concat([other, y_pred], axis=-1)
        hard = keras.losses.sparse_categorical_crossentropy(
            labels, y_pred, from_logits=self.from_logits
        )
        soft = soft_cross_entropy(
            teacher, y_pred, temperature=self.temperature, from_logits=self.from_logits
        )
        return (1.0 - self.weight) * hard + self.weight * soft

    def get_config(self):
        own = {name: getattr(self, name) for name in ("weight", "temperature", "from_logits")}
        return super().get_config() | own


def distill(teacher, student, X, y=None, *, validation_data=None, **parameters):
    """Return a student that has learnt from a teacher.

    Parameters
    ----------
    teacher : estimator
        Fitted, see `Distill`.
    student : estimator
        A fitted one stays as it is and its copy is trained further; one that is not fitted is
        first fitted to `y`.
    X : array-like
        Rows, labelled or not.
    y : array-like, default=None
        Targets; None takes the teacher's predictions.
    validation_data : tuple (X, y), default=None
        Rows to judge by; by default a share of `X` is held out for it.
    **parameters
        Those of `Distill`.

    Returns
    -------
    estimator
        Of the student's class, with ``compression_report_``.

    Raises
    ------
    ValueError
        If a parameter is not what it must be, or the teacher knows other classes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from autokit import KerasClassifier
    >>> from autokit.compression import distill
    >>> X, y = load_iris(return_X_y=True)
    >>> forest = RandomForestClassifier(random_state=0).fit(X, y)
    >>> student = distill(forest, KerasClassifier(epochs=5, random_state=0), X, y, epochs=5)
    >>> student.compression_report_.details["teacher"]
    'RandomForestClassifier'
    """
    if not hasattr(teacher, "predict"):
        raise ValueError(
            f"teacher must be a fitted estimator with predict, got {type(teacher).__name__}."
        )
    targets = teacher.predict(X) if y is None else y
    if hasattr(student, "training_loss") and not hasattr(student, "model_"):
        from sklearn.base import clone

        student = clone(student).fit(X, targets)
    else:
        checked_estimator(student, "distill")
    method = Distill(teacher=teacher, **parameters)
    return method.compress(student, X, targets, validation_data)
