"""What a compression method works on: a network, rows to tune it on, and its score."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing

from autokit._backend import keras
from autokit.layers import copied
from autokit.training import Batch, Constraints, FitConfig, Forward, Held, fit, split
from autokit.training.batches import split_places
from autokit.training.objectives import make_loss

_MODEL_BATCH_SIZE, _MODEL_OPTIMIZER = 32, "adam"
_CLASSIFICATION = (
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.BinaryCrossentropy,
)


@dataclass
class Task:
    """A trained network, and how it is tuned and judged.

    Attributes
    ----------
    model : keras.Model
        A copy: a method may train, change or replace it.
    train, validation : Batch
        Encoded rows; the second ones are never trained on.
    loss : keras.losses.Loss
    batch_size : int
    optimizer : str or keras.optimizers.Optimizer
    learning_rate : float or None
        None is the optimizer's own.
    seed : int
    held : Held
        Structure that earlier compressions left, which tuning keeps.
    estimator : estimator or None
        Whose network it is.
    rows : Any
        What `train` was encoded from, as the user gave it.
    """

    model: keras.Model
    train: Batch
    validation: Batch
    loss: keras.losses.Loss
    batch_size: int = _MODEL_BATCH_SIZE
    optimizer: Any = _MODEL_OPTIMIZER
    learning_rate: Any = None
    seed: int = 0
    held: Held = field(default_factory=Held)
    estimator: Any = None
    rows: Any = None

    @property
    def classifies(self) -> bool:
        """Whether the score is an accuracy; R2 otherwise."""
        return isinstance(self.loss, _CLASSIFICATION)

    def score(self, model: keras.Model | None = None) -> float:
        """Accuracy or R2 of a model, by default the task's own, on the validation rows."""
        data = self.validation
        outputs = Forward(self.model if model is None else model)(data.x)
        if not self.classifies:
            from sklearn.metrics import r2_score

            return float(r2_score(data.y, outputs, sample_weight=data.weight))
        targets = data.y
        if isinstance(self.loss, keras.losses.BinaryCrossentropy):
            threshold = 0.0 if self.loss.get_config().get("from_logits") else 0.5
            right = (outputs > threshold) == (np.reshape(targets, outputs.shape) > 0.5)
            right = right.reshape(len(right), -1).all(axis=1)
        else:
            if isinstance(self.loss, keras.losses.CategoricalCrossentropy):
                targets = targets.argmax(axis=-1)
            right = outputs.argmax(axis=-1) == np.reshape(targets, outputs.shape[:-1])
        return float(np.average(right, weights=data.weight))

    def tune(
        self,
        epochs: int,
        *,
        constraints: Constraints | None = None,
        loss: keras.losses.Loss | None = None,
        train: Batch | None = None,
        schedule: Any = "cosine",
    ) -> dict[str, list[float]]:
        """Train the model further, in place.

        Parameters
        ----------
        epochs : int
            0 does nothing.
        constraints : Constraints, default=None
            Added to what is held.
        loss : keras.losses.Loss, default=None
            Instead of the task's own.
        train : Batch, default=None
            Instead of the task's own rows.
        schedule : str, callable or None, default="cosine"
            See `autokit.training.FitConfig`.

        Returns
        -------
        dict of list of float
            Loss per epoch.
        """
        if epochs == 0:
            return {}
        held = self.held.constraints()
        config = FitConfig(
            epochs=int(epochs),
            batch_size=int(self.batch_size),
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            schedule=schedule,
            loss=self.loss if loss is None else loss,
        )
        result = fit(
            self.model,
            self.train if train is None else train,
            config=config,
            seed=self.seed,
            constraints=held if constraints is None else constraints.over(held),
        )
        return result.history

    def steps(self, epochs: int) -> int:
        """Training steps of so many epochs."""
        return int(epochs) * -(-len(self.train) // int(self.batch_size))


def task_of_estimator(
    estimator: Any, X: Any, data: Batch, validation: Batch | None, fraction: float, seed: int
) -> Task:
    """The task that a fitted estimator poses.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : array-like
        Rows as ``fit`` takes them.
    data : Batch
        The same, encoded.
    validation : Batch or None
        None splits it off `data`.
    fraction : float in (0, 1)
        The share to split off.
    seed : int

    Returns
    -------
    Task
    """
    if validation is None:
        labels = data.y if hasattr(estimator, "classes_") else None
        training, judging = split_places(len(data), fraction, seed, labels)
        X, data, validation = _safe_indexing(X, training), data.take(training), data.take(judging)
    return Task(
        model=copied(estimator.model_),
        train=data,
        validation=validation,
        loss=estimator.training_loss(),
        batch_size=getattr(estimator, "batch_size", _MODEL_BATCH_SIZE),
        optimizer=getattr(estimator, "optimizer", _MODEL_OPTIMIZER),
        learning_rate=getattr(estimator, "learning_rate", None),
        seed=seed,
        held=getattr(estimator, "held_", Held()),
        estimator=estimator,
        rows=X,
    )


def task_of_model(
    model: keras.Model, data: Batch, validation: Batch | None, fraction: float, seed: int
) -> Task:
    """The task that a plain Keras model poses; its loss is the compiled one, or follows from it.

    Parameters
    ----------
    model : keras.Model
        Built, of one input and one output.
    data, validation, fraction, seed
        As for `task_of_estimator`; rows as the model takes them.

    Returns
    -------
    Task

    Raises
    ------
    ValueError
        If the model has several inputs or outputs.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            f"estimator_or_model: a model of one input and one output is needed, this one has "
            f"{len(model.inputs)} and {len(model.outputs)}."
        )
    loss = make_loss(model.loss) if getattr(model, "loss", None) else _natural_loss(model, data.y)
    stratify = isinstance(loss, keras.losses.SparseCategoricalCrossentropy) and data.y.ndim == 1
    if validation is None:
        data, validation = split(data, fraction, seed, stratify=stratify)
    return Task(copied(model), data, validation, loss, seed=seed, rows=data.x)


def _natural_loss(model: keras.Model, y: np.ndarray) -> keras.losses.Loss:
    losses = keras.losses
    activation = getattr(model.layers[-1], "activation", None)
    if activation is keras.activations.softmax:
        one_hot = y.ndim == 2 and y.shape[1] == model.output_shape[-1] > 1
        kind = losses.CategoricalCrossentropy if one_hot else losses.SparseCategoricalCrossentropy
        return kind()
    if activation is keras.activations.sigmoid:
        return losses.BinaryCrossentropy()
    if np.issubdtype(y.dtype, np.integer) and model.output_shape[-1] > 1:
        return losses.SparseCategoricalCrossentropy(from_logits=True)
    return losses.MeanSquaredError()
