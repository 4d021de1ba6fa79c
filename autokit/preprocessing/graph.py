"""The encoders' arithmetic in TensorFlow operations that LiteRT has built in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from autokit._backend import tf


def encode_table(
    numbers: tf.Tensor | None,
    texts: tf.Tensor | None,
    *,
    mean: np.ndarray,
    scale: np.ndarray | None,
    missing: list[int],
    categories: list[list[str]],
) -> tf.Tensor:
    """Standardise numbers and make texts one-hot.

    Parameters
    ----------
    numbers : tf.Tensor of shape (batch, n_numeric), float32, or None
        NaN where missing; None if there are no numeric columns.
    texts : tf.Tensor of shape (batch, n_categorical), string, or None
        Empty where missing; None if there are no categorical columns.
    mean, scale : ndarray of shape (n_numeric,), float64
        Of the numeric columns; a `scale` of None leaves them unscaled.
    missing : list of int
        Positions of numeric columns with an indicator.
    categories : list of list of str
        For each categorical column.

    Returns
    -------
    tf.Tensor of shape (batch, n_encoded), float32
        Encoded rows.
    """
    from autokit._backend import tf

    pieces = []
    if numbers is not None:
        is_missing = tf.math.is_nan(numbers)
        if scale is None:
            pieces.append(tf.where(is_missing, mean.astype(np.float32), numbers))
        else:
            pieces.append(tf.where(is_missing, np.float32(0), affine(numbers, mean, scale)))
        if missing:
            pieces.append(tf.cast(tf.gather(is_missing, missing, axis=1), tf.float32))
    for i, names in enumerate(categories):
        if names:
            is_category = tf.equal(texts[:, i : i + 1], tf.constant([names]))  # (batch, n_names)
            pieces.append(tf.cast(is_category, tf.float32))
    return pieces[0] if len(pieces) == 1 else tf.concat(pieces, axis=1)


def affine(values: tf.Tensor, mean: np.ndarray, scale: np.ndarray) -> tf.Tensor:
    """Return ``(values - mean) / scale`` in float32, nearly as exact as in float64.

    The mean is subtracted in two float32 parts: a column of years has a mean hundreds of times
    its spread, and the rounding of one part would show.

    Parameters
    ----------
    values : tf.Tensor, float32
        Its last axis broadcasts with `mean` and `scale`.
    mean, scale : ndarray, float64
        Of the columns.

    Returns
    -------
    tf.Tensor of the shape of `values`, float32
        Scaled.
    """
    high = mean.astype(np.float32)
    low = (mean - high).astype(np.float32)
    centred = values - high
    if low.any():
        centred = centred - low
    return centred * (1.0 / scale).astype(np.float32)
