"""The user's rows, read into named columns or into an array. Needs NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from autokit.preprocessing import columns
from autokit.preprocessing.validation import refuse_empty


class Rows(NamedTuple):
    """A table of the user's, as read by :func:`read_table`.

    Attributes
    ----------
    names : list of str, or None
        Column names, if `X` had texts for them.
    n_rows, n_columns : int
        Its size.
    matrix : ndarray of shape (n_rows, n_columns), or None
        The table as it came, if every column has one plain number type.
    columns : list, or None
        Otherwise, the columns.
    """

    names: list[str] | None
    n_rows: int
    n_columns: int
    matrix: np.ndarray | None
    columns: list | None

    def column(self, index: int) -> Any:
        """Return the column at a position."""
        return self.columns[index] if self.matrix is None else self.matrix[:, index]

    def label(self, index: int) -> str:
        """How an error message calls the column at a position."""
        return columns.label(self.names, index)

    def kinds(self) -> list[str]:
        """Return ``"numeric"`` or ``"categorical"`` for each column."""
        if self.matrix is not None:
            return ["numeric"] * self.n_columns
        return [columns.column_kind(c, self.label(i)) for i, c in enumerate(self.columns)]

    def numbers(self, indices: Sequence[int]) -> np.ndarray:
        """Read columns as numbers.

        Parameters
        ----------
        indices : sequence of int
            Positions of the columns.

        Returns
        -------
        ndarray of shape (n_rows, len(indices)), floating or integer
            Missing values are NaN.
        """
        if self.matrix is not None:
            return self.matrix if len(indices) == self.n_columns else self.matrix[:, list(indices)]
        values = np.empty((self.n_rows, len(indices)))
        for position, i in enumerate(indices):
            values[:, position] = columns.numbers_of(self.columns[i], self.label(i))
        return values

    def texts(self, indices: Sequence[int]) -> np.ndarray:
        """Read columns as texts.

        Parameters
        ----------
        indices : sequence of int
            Positions of the columns.

        Returns
        -------
        ndarray of shape (n_rows, len(indices)), object
            Python strings, ``""`` where missing.
        """
        texts = np.empty((self.n_rows, len(indices)), dtype=object)
        for position, i in enumerate(indices):
            texts[:, position] = columns.texts_of(self.column(i), self.label(i))
        return texts


def is_frame(X: Any) -> bool:
    """Whether `X` is a data frame (pandas, or one whose columns are read the same way)."""
    return hasattr(X, "columns") and hasattr(X, "dtypes") and not isinstance(X, np.ndarray)


def read_table(X: Any, owner: str | None = None) -> Rows:
    """Read a table.

    Parameters
    ----------
    X : DataFrame, ndarray or nested list, of shape (n_samples, n_features)
        The user's rows.
    owner : str, default=None
        The estimator's name, for messages.

    Returns
    -------
    Rows
        The columns.

    Raises
    ------
    ValueError
        If it is not two-dimensional, is ragged, complex, or empty.
    TypeError
        If it is sparse, or names of columns are not all texts.
    """
    if not is_frame(X):
        array = read_array(X, owner)
        if array.ndim != 2:
            raise wrong_rank(array.shape)
        refuse_empty(array.shape, owner)
        if array.dtype.kind in "biuf":
            return Rows(None, *array.shape, array, None)
        return Rows(None, *array.shape, None, list(array.T))
    names = frame_names(X)
    n_rows, n_columns = X.shape
    refuse_empty((n_rows, n_columns), owner)
    dtypes = list(X.dtypes)
    if all(isinstance(t, np.dtype) and t.kind in "biuf" for t in dtypes):
        return Rows(names, n_rows, n_columns, X.to_numpy(dtype=np.float64), None)
    if hasattr(X, "iloc"):
        return Rows(names, n_rows, n_columns, None, [X.iloc[:, i] for i in range(n_columns)])
    return Rows(names, n_rows, n_columns, None, [X[c].to_numpy() for c in X.columns])


def read_array(X: Any, owner: str | None = None) -> np.ndarray:
    """Read an array-like of any rank.

    Parameters
    ----------
    X : array-like
        The user's rows.
    owner : str, default=None
        The estimator's name, for messages.

    Returns
    -------
    ndarray
        As it came where it was one; lists that mix numbers and texts keep them apart (object),
        and what a mask hides is NaN.

    Raises
    ------
    ValueError
        If it is ragged or complex.
    TypeError
        If it is sparse.
    """
    if type(X).__module__.startswith("scipy.sparse"):
        whom = f" to {owner}" if owner else ""
        raise TypeError(
            f"Sparse data was passed as X{whom}, but dense data is required; use X.toarray()."
        )
    if isinstance(X, np.ma.MaskedArray):
        array = X.astype(np.float64).filled(np.nan) if X.dtype.kind in "biuf" else X.filled()
    elif isinstance(X, np.ndarray):
        array = np.asarray(X)
    else:
        try:
            array = np.asarray(X)
            if array.dtype.kind in "US":  # numbers beside texts were made texts: read again
                array = np.asarray(X, dtype=object)
        except ValueError as error:
            raise _ragged(X) from error
    if array.dtype.kind == "c":
        raise ValueError(
            f"Complex data not supported: X has dtype {array.dtype}; pass real and imaginary "
            "parts as separate columns."
        )
    return array


def frame_names(X: Any) -> list[str] | None:
    """Names of a data frame's columns.

    Parameters
    ----------
    X : DataFrame
        The user's rows.

    Returns
    -------
    list of str, or None
        None if no name is a text.

    Raises
    ------
    TypeError
        If some names are texts and some are not.
    ValueError
        If two columns share a name.
    """
    names = list(X.columns)
    n_texts = sum(isinstance(name, str) for name in names)
    if n_texts == 0:
        return None
    if n_texts < len(names):
        kinds = sorted({type(name).__name__ for name in names})
        raise TypeError(
            f"X's column names are of several types ({', '.join(kinds)}); Feature names are only "
            "supported if they are all texts: use X.columns = X.columns.astype(str)."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"X has two columns named {twice!r}; give each its own name.")
    return [str(name) for name in names]


def wrong_rank(shape: tuple[int, ...]) -> ValueError:
    """Make the error for rows that are not two-dimensional.

    Parameters
    ----------
    shape : tuple of int
        What was got.

    Returns
    -------
    ValueError
        To raise.
    """
    if len(shape) < 2:
        return ValueError(
            f"X must have rows and features, got an array of shape {shape}. Reshape your data "
            "with X.reshape(-1, 1) if it has a single feature, or X.reshape(1, -1) if it is a "
            "single sample."
        )
    return ValueError(
        f"X must be of shape (n_samples, n_features), got {shape}: found array with dim "
        f"{len(shape)}; flatten each sample with X.reshape(len(X), -1)."
    )


def _ragged(X: Any) -> ValueError:
    try:
        lengths = [len(row) for row in X]
        other = next(i for i, length in enumerate(lengths) if length != lengths[0])
        what = f"row 0 has {lengths[0]} values and row {other} has {lengths[other]}"
    except (TypeError, StopIteration):
        what = "their inner lengths differ"
    return ValueError(f"X has ragged rows: {what}; give every row the same shape, by padding.")
