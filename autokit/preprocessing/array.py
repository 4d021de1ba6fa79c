"""The encoder of images and sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator

from autokit.preprocessing import raw
from autokit.preprocessing.rows import read_array
from autokit.preprocessing.scaling import affine, moments, spread
from autokit.preprocessing.validation import check_array

if TYPE_CHECKING:
    from autokit._backend import tf


class ArrayEncoder(BaseEstimator):
    """Encode images, sequences and arrays of higher rank as float32.

    ::

        (n, height, width)             image       (x - mean) / std, one mean and std
        (n, height, width, channels)   image       a mean and std for each channel
        (n, steps, features)           sequence    a mean and std for each feature
        (n, ..., channels)             array       a mean and std for each channel

    Rank 3 is an image if it is square or of integers, and a sequence otherwise.

    Parameters
    ----------
    standardize : bool, default=True
        Whether values are standardised. Otherwise they pass as they are.

    Attributes
    ----------
    kind_ : str
        ``"image"``, ``"sequence"`` or ``"array"``.
    encoded_shape_ : tuple of int
        Shape of an encoded row, which is that of a row.
    n_features_in_ : int
        Length of a row's first axis, as scikit-learn counts.
    mean_, scale_ : ndarray of shape (1,) or (n_channels,), float64
        What is subtracted, and what is divided by (0 and 1 without `standardize`).

    See Also
    --------
    TableEncoder : The same for tables.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.preprocessing import ArrayEncoder
    >>> images = np.zeros((10, 8, 8), np.uint8)
    >>> images[:5] = 255
    >>> encoder = ArrayEncoder().fit(images)
    >>> encoder.kind_, encoder.encoded_shape_
    ('image', (8, 8))
    >>> float(encoder.encode(images).max())
    1.0
    """

    def __init__(self, standardize: bool = True):
        self.standardize = standardize

    def fit(self, X: Any, y: Any = None) -> ArrayEncoder:
        """Learn shape, means and spreads.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...), of rank 3 or more
            Rows.
        y : None
            Ignored.

        Returns
        -------
        ArrayEncoder
            Itself.

        Raises
        ------
        ValueError
            If X is of lower rank, is empty, ragged or complex, or not of finite numbers.
        TypeError
            If X is sparse.
        """
        array = read_array(X, type(self).__name__)
        if array.ndim < 3:
            raise ValueError(
                f"X must be of rank 3 or more for images and sequences, got shape {array.shape}; "
                "a table goes to TableEncoder. Reshape your data with X.reshape(n_samples, ...)."
            )
        array = check_array(array, type(self).__name__)
        self.kind_ = _kind(array)
        self.encoded_shape_ = tuple(int(size) for size in array.shape[1:])
        self.n_features_in_ = self.encoded_shape_[0]
        n_channels = 1 if self.kind_ == "image" and array.ndim == 3 else array.shape[-1]
        self.mean_, self.scale_ = np.zeros(n_channels), np.ones(n_channels)
        if self.standardize:
            _, self.mean_, variance = moments(array.reshape(-1, n_channels))
            self.scale_ = spread(self.mean_, variance)
        self._inverse = 1.0 / self.scale_
        return self

    def encode(self, X: Any, owner: str | None = None) -> np.ndarray:
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, *encoded_shape_)
            Rows.
        owner : str, default=None
            The estimator's name, for messages.

        Returns
        -------
        ndarray of shape (n_samples, *encoded_shape_), float32
            Encoded rows.

        Raises
        ------
        ValueError
            If rows have another shape than in ``fit``, or are not finite numbers.
        TypeError
            If X is sparse.
        """
        rows = raw.array_rows(X, self.encoded_shape_, owner or type(self).__name__)
        return affine(rows, self.mean_, self._inverse)

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows: :meth:`encode` by its scikit-learn name.

        Parameters
        ----------
        X : array-like of shape (n_samples, *encoded_shape_)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, *encoded_shape_), float32
            Encoded rows.
        """
        return self.encode(X)

    def raw_tensors(self, X: Any, owner: str | None = None) -> dict[str, np.ndarray]:
        """Rows as the arrays that an exported file takes.

        Parameters
        ----------
        X : array-like of shape (n_samples, *encoded_shape_)
            Rows.
        owner : str, default=None
            The estimator's name, for messages.

        Returns
        -------
        dict of str to ndarray
            ``rows``, float32.
        """
        rows = raw.array_rows(X, self.encoded_shape_, owner or type(self).__name__)
        return {raw.ROWS: rows.astype(np.float32)}

    def raw_specs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return each raw tensor's name, shape without batch, and dtype."""
        return {raw.ROWS: (self.encoded_shape_, "float32")}

    def graph(self, tensors: dict[str, tf.Tensor]) -> tf.Tensor:
        """Encode raw tensors, in TensorFlow operations that LiteRT has built in.

        Parameters
        ----------
        tensors : dict of str to tf.Tensor
            As :meth:`raw_tensors`, with a batch dimension that may be dynamic.

        Returns
        -------
        tf.Tensor of shape (batch, *encoded_shape_), float32
            What :meth:`encode` computes, up to rounding in float32.
        """
        from autokit.preprocessing.graph import affine as affine_graph

        rows = tensors[raw.ROWS]
        return affine_graph(rows, self.mean_, self.scale_) if self.standardize else rows

    def describe(self) -> dict:
        """Describe rows and their encoding, for JSON.

        Returns
        -------
        dict
            ``kind``, ``standardize``, ``shape``, ``encoded_shape``, ``mean`` and ``scale``.
            :class:`RawRows` reads rows from it.
        """
        return {
            "kind": self.kind_,
            "standardize": bool(self.standardize),
            "shape": list(self.encoded_shape_),
            "encoded_shape": list(self.encoded_shape_),
            "mean": self.mean_.tolist(),
            "scale": self.scale_.tolist(),
        }


def _kind(array: np.ndarray) -> str:
    if array.ndim == 4:
        return "image"
    if array.ndim > 4:
        return "array"
    is_square = array.shape[1] == array.shape[2]
    return "image" if is_square or array.dtype.kind in "biu" else "sequence"
