"""What every encoder can do, and the choice of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from autokit.preprocessing.array import ArrayEncoder
from autokit.preprocessing.rows import is_frame, read_array, wrong_rank
from autokit.preprocessing.table import TableEncoder

if TYPE_CHECKING:
    from autokit._backend import tf


class Encoder(Protocol):
    """Between the user's rows and a model's input: in NumPy for training, in a graph for export.

    Estimators call :meth:`encode`, whose result is always an array; ``transform`` is the same
    for scikit-learn, which may wrap it in a DataFrame.

    Attributes
    ----------
    kind_ : str
        ``"table"``, ``"image"``, ``"sequence"`` or ``"array"``.
    encoded_shape_ : tuple of int
        Shape of an encoded row.
    n_features_in_ : int
        Number of columns, or length of a row's first axis.
    """

    kind_: str
    encoded_shape_: tuple[int, ...]
    n_features_in_: int

    def fit(self, X: Any, y: Any = None) -> Encoder:
        """Learn from the training rows."""

    def encode(self, X: Any, owner: str | None = None) -> np.ndarray:
        """Rows to float32 (n_samples, *encoded_shape_); `owner` is named in messages."""

    def raw_tensors(self, X: Any, owner: str | None = None) -> dict[str, np.ndarray]:
        """Rows as the arrays that an exported file takes."""

    def raw_specs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Each raw tensor's name, shape without batch, and dtype."""

    def graph(self, tensors: dict[str, tf.Tensor]) -> tf.Tensor:
        """Encode raw tensors in TensorFlow."""

    def describe(self) -> dict:
        """Describe rows and encoding, for JSON."""


def make_encoder(X: Any, standardize: bool = True) -> TableEncoder | ArrayEncoder:
    """Choose an encoder by the input.

    Parameters
    ----------
    X : DataFrame or array-like of rank 2 or more
        Rows.
    standardize : bool, default=True
        Whether it is to standardise numbers.

    Returns
    -------
    TableEncoder or ArrayEncoder
        Not fitted yet.

    Raises
    ------
    ValueError
        If X has fewer than two dimensions, or is ragged or complex.
    TypeError
        If X is sparse.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.preprocessing import make_encoder
    >>> make_encoder(np.zeros((10, 28, 28, 3)))
    ArrayEncoder()
    """
    if is_frame(X):
        return TableEncoder(standardize)
    array = read_array(X)
    if array.ndim < 2:
        raise wrong_rank(array.shape)
    return TableEncoder(standardize) if array.ndim == 2 else ArrayEncoder(standardize)
