"""What the output units of a network stand for, and the loss over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.training import task_objective

EXCLUDED = -1e9  # added to a logit: its probability is 0 in float32


@dataclass(frozen=True)
class ClassHeads:
    """Heads of a classifier: a unit for each class of each head.

    Units are sorted by head and, within it, by label. One head serves the domain- and the
    class-incremental scenario; a head a task the task-incremental one.

    Attributes
    ----------
    classes : tuple of np.ndarray
        Sorted labels of each head.
    """

    classes: tuple[np.ndarray, ...] = ()
    classifies = True

    @property
    def n_units(self) -> int:
        """Output units of all heads."""
        return sum(map(len, self.classes))

    @property
    def groups(self) -> np.ndarray:
        """The head of each unit, int32 of shape (n_units,)."""
        return np.repeat(np.arange(len(self.classes)), [len(c) for c in self.classes]).astype(
            np.int32
        )

    def grown(self, group: int, labels: np.ndarray) -> tuple[ClassHeads, np.ndarray]:
        """Heads that know the labels too, and the new place of each unit.

        Parameters
        ----------
        group : int
            A head, or the next.
        labels : np.ndarray
        """
        classes = list(self.classes)
        if group == len(classes):
            classes.append(np.unique(labels))
        else:
            classes[group] = np.unique(np.concatenate([classes[group], labels]))
        heads = ClassHeads(tuple(classes))
        places = [heads.encode(g, c) for g, c in enumerate(self.classes)]
        return heads, np.concatenate([*places, np.zeros(0, np.int32)]).astype(np.int64)

    def encode(self, group: int, labels: np.ndarray) -> np.ndarray:
        """The unit of each label, int32."""
        first = sum(len(c) for c in self.classes[:group])
        return (first + np.searchsorted(self.classes[group], labels)).astype(np.int32)

    def moved(self, y: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Stored targets after a growth."""
        return places[y].astype(np.int32)

    def loss(self) -> keras.losses.Loss:
        """Softmax cross-entropy on logits."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @staticmethod
    def objective(model, loss, groups, training=True):
        """The loss over the units of each row's own head."""

        def masked(outputs, batch):
            inside = tf.equal(groups[None, :], tf.gather(groups, batch.y)[:, None])
            return outputs + tf.where(inside, 0.0, tf.constant(EXCLUDED, outputs.dtype))

        return task_objective(model, loss, training=training, outputs_of=masked)


@dataclass(frozen=True)
class NumberHeads:
    """Heads of a regressor, as wide as the target each.

    Attributes
    ----------
    n_outputs : int
    n_heads : int
    """

    n_outputs: int
    n_heads: int = 0
    classifies = False

    @property
    def n_units(self) -> int:
        """Output units of all heads."""
        return self.n_outputs * self.n_heads

    @property
    def groups(self) -> np.ndarray:
        """The head of each unit, int32 of shape (n_units,)."""
        return np.repeat(np.arange(self.n_heads), self.n_outputs).astype(np.int32)

    def grown(self, group: int, labels: Any = None) -> tuple[NumberHeads, np.ndarray]:
        """Heads with this one too, and the new place of each unit."""
        heads = NumberHeads(self.n_outputs, max(self.n_heads, group + 1))
        return heads, np.arange(self.n_units)

    def encode(self, group: int, targets: np.ndarray) -> np.ndarray:
        """The targets, and the head in a last column, float32."""
        return np.column_stack([targets, np.full(len(targets), group)]).astype(np.float32)

    def moved(self, y: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Stored targets after a growth."""
        return y

    def loss(self) -> keras.losses.Loss:
        """The mean squared error."""
        return keras.losses.MeanSquaredError()

    @staticmethod
    def objective(model, loss, groups, training=True):
        """The loss over the units of each row's own head."""

        def own(outputs, batch):
            width = batch.y.shape[1] - 1
            places = tf.cast(batch.y[:, -1:], tf.int32) * width + tf.range(width)[None, :]
            return tf.gather(outputs, places, batch_dims=1)

        targets = _Targets(loss)
        return task_objective(model, targets, training=training, outputs_of=own)


class _Targets:
    """A loss that does not see the last column of the targets."""

    def __init__(self, loss):
        self._loss = loss

    def __call__(self, y_true, y_pred, sample_weight=None):
        return self._loss(y_true[:, :-1], y_pred, sample_weight=sample_weight)
