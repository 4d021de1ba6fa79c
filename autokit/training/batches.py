"""Rows for training: weights, splits and what fits on the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Larger data is gathered and sent in chunks of about this size.
DEVICE_BYTES = 1 << 30


@dataclass(frozen=True)
class Batch:
    """Encoded rows on the host.

    Attributes
    ----------
    x : np.ndarray of shape (n_rows, ...)
    y : np.ndarray of shape (n_rows,) or (n_rows, n_outputs)
    weight : np.ndarray of shape (n_rows,) or None
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows) -> Batch:
        """The batch of the given rows."""
        weight = None if self.weight is None else self.weight[rows]
        return Batch(self.x[rows], self.y[rows], weight)

    @property
    def size_bytes(self) -> int:
        """Bytes of the inputs."""
        return self.x.nbytes


def split(data: Batch, fraction: float, seed: int, *, stratify: bool) -> tuple[Batch, Batch]:
    """Split off a validation part.

    Parameters
    ----------
    data : Batch
    fraction : float in (0, 1)
        Share of rows that validate; at least one row on each side.
    seed : int
    stratify : bool
        Keep the class shares (integer targets); falls back to a plain split where a class is
        too rare for that.

    Returns
    -------
    training, validation : Batch
    """
    training, validation = split_places(len(data), fraction, seed, data.y if stratify else None)
    return data.take(training), data.take(validation)


def split_places(
    n_rows: int, fraction: float, seed: int, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows of a training and of a validation part.

    Parameters
    ----------
    n_rows : int
    fraction : float in (0, 1)
        Share of rows that validate.
    seed : int
    labels : np.ndarray of shape (n_rows,), default=None
        Whose shares are kept, unless one is too rare for that.

    Returns
    -------
    training, validation : np.ndarray of int
    """
    from sklearn.model_selection import train_test_split

    n_validation = min(max(1, round(n_rows * fraction)), n_rows - 1)
    if labels is not None:
        counts = np.unique(labels, return_counts=True)[1]
        if counts.min() < 2 or min(n_validation, n_rows - n_validation) < len(counts):
            labels = None
    return train_test_split(
        np.arange(n_rows), test_size=n_validation, random_state=seed, stratify=labels
    )


def class_weights(class_weight, codes: np.ndarray, classes: np.ndarray) -> np.ndarray | None:
    """Weight of each row from a class weight.

    Parameters
    ----------
    class_weight : None, "balanced" or dict
        "balanced" is ``n_rows / (n_classes * count)``; a dict maps classes to weights.
    codes : np.ndarray of int of shape (n_rows,)
        Places in `classes`.
    classes : np.ndarray of shape (n_classes,)

    Returns
    -------
    np.ndarray of float32 of shape (n_rows,), or None
    """
    if class_weight is None:
        return None
    from sklearn.utils.class_weight import compute_class_weight

    if isinstance(class_weight, dict):
        unknown = [c for c in class_weight if c not in set(classes.tolist())]
        if unknown:
            raise ValueError(
                f"The 'class_weight' parameter names the class {unknown[0]!r}, which y does not "
                f"hold; its classes are {classes.tolist()}."
            )
    present = np.unique(codes)
    weight = np.ones(len(classes))
    weight[present] = compute_class_weight(class_weight, classes=classes[present], y=classes[codes])
    return weight[codes].astype("float32")


def chunks(data: Batch, order: np.ndarray, batch_size: int) -> Iterator[Batch]:
    """The rows in the given order, in pieces that fit on the device, whole batches each."""
    row_bytes = max(1, data.size_bytes // max(1, len(data)))
    rows = max(batch_size, DEVICE_BYTES // row_bytes // batch_size * batch_size)
    for start in range(0, len(order), rows):
        yield data.take(order[start : start + rows])
