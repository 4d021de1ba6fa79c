"""The user's rows as the arrays that an exported file takes. Needs NumPy only.

The encoders and the runtime of exported files share this module, so that both read the same
rows in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit.preprocessing.rows import read_array, read_table
from autokit.preprocessing.validation import (
    check_array,
    check_columns,
    check_numbers,
    labels_of,
)

ROWS, NUMERIC, CATEGORICAL = "rows", "numeric", "categorical"


@dataclass(frozen=True)
class RawRows:
    """Reads rows as described in an exported file.

    Parameters
    ----------
    description : dict
        What an encoder's ``describe()`` returned, before or after JSON.

    Raises
    ------
    ValueError
        If the description is of a kind that this version does not know.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.preprocessing import RawRows, TableEncoder
    >>> encoder = TableEncoder().fit(np.array([[1.0, 2.0], [3.0, 5.0]]))
    >>> RawRows(encoder.describe()).tensors([[1.0, 2.0]])
    {'rows': array([[1., 2.]], dtype=float32)}
    """

    description: dict

    def __post_init__(self) -> None:
        kind = self.description.get("kind")
        if kind not in ("table", "image", "sequence", "array"):
            raise ValueError(
                f"description must be of kind table, image, sequence or array, got {kind!r}; it "
                "may come from a newer version of autokit."
            )

    def specs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return each tensor's name, shape without batch, and dtype."""
        if self.description["kind"] == "table":
            return table_specs([c["kind"] for c in self.description["columns"]])
        return {ROWS: (tuple(self.description["shape"]), "float32")}

    def tensors(self, X: Any, owner: str = "the model") -> dict[str, np.ndarray]:
        """Read rows.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, ...)
            Rows as they were given to ``fit``.
        owner : str, default="the model"
            Who takes them, for messages.

        Returns
        -------
        dict of str to ndarray
            Arrays by the name of the tensor that takes them.

        Raises
        ------
        ValueError
            If the rows do not fit the description.
        TypeError
            If they are sparse, or a cell is neither number nor text.
        """
        if self.description["kind"] == "table":
            columns = self.description["columns"]
            names = [c["name"] for c in columns]
            has_names = bool(names) and names[0] is not None
            kinds = [c["kind"] for c in columns]
            return table_tensors(X, names if has_names else None, kinds, owner)
        return {ROWS: array_rows(X, tuple(self.description["shape"]), owner).astype(np.float32)}


def table_specs(kinds: list[str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Tensors that a table of such columns becomes.

    Parameters
    ----------
    kinds : list of str
        ``"numeric"`` or ``"categorical"`` for each column.

    Returns
    -------
    dict of str to (shape without batch, dtype)
        ``rows`` for an all-numeric table; otherwise ``numeric`` and ``categorical``, each only
        if it has columns.
    """
    n_numeric = kinds.count("numeric")
    n_categorical = len(kinds) - n_numeric
    if n_categorical == 0:
        return {ROWS: ((n_numeric,), "float32")}
    specs = {NUMERIC: ((n_numeric,), "float32")} if n_numeric else {}
    return {**specs, CATEGORICAL: ((n_categorical,), "string")}


def table_tensors(
    X: Any, names: list[str] | None, kinds: list[str], owner: str
) -> dict[str, np.ndarray]:
    """Read a table's rows as tensors.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_features)
        Rows.
    names : list of str, or None
        The columns' names at fit time.
    kinds : list of str
        ``"numeric"`` or ``"categorical"`` for each column.
    owner : str
        Who takes them, for messages.

    Returns
    -------
    dict of str to ndarray
        As :func:`table_specs` says: float32 with NaN for missing numbers, and object arrays of
        texts with ``""`` for missing ones.

    Raises
    ------
    ValueError
        If the columns are not those that were fitted, or hold what they cannot.
    """
    rows = read_table(X, owner)
    check_columns(rows.names, rows.n_columns, names, len(kinds), owner)
    tensors: dict[str, np.ndarray] = {}
    for name, (_, dtype) in table_specs(kinds).items():
        kind = "categorical" if dtype == "string" else "numeric"
        indices = [i for i, k in enumerate(kinds) if k == kind]
        if kind == "categorical":
            tensors[name] = rows.texts(indices)
            continue
        values = rows.numbers(indices)
        with np.errstate(over="ignore"):
            tensors[name] = values.astype(np.float32)
        if np.isinf(tensors[name]).any():
            check_numbers(values, labels_of(rows.names, indices), allow_missing=True)
    return tensors


def array_rows(X: Any, shape: tuple[int, ...], owner: str) -> np.ndarray:
    """Read images or sequences, and check their shape and values.

    Parameters
    ----------
    X : array-like of shape (n_samples, *shape)
        Rows.
    shape : tuple of int
        One row's shape at fit time.
    owner : str
        Who takes them, for messages.

    Returns
    -------
    ndarray of shape (n_samples, *shape), numeric
        In the dtype that it came in.

    Raises
    ------
    ValueError
        If shapes differ, or values are not finite numbers.
    """
    array = read_array(X, owner)
    if array.ndim != len(shape) + 1:
        hint = " (for a single one, X[None])" if array.shape == shape else ""
        raise ValueError(
            f"X must be of shape (n_samples, {', '.join(map(str, shape))}), got {array.shape}. "
            f"Reshape your data so that the first axis counts samples{hint}."
        )
    if array.shape[1:] != shape:
        raise ValueError(
            f"X has rows of shape {array.shape[1:]}, but {owner} is expecting rows of shape "
            f"{shape}; resize or pad them as for fit."
        )
    return check_array(array, owner)
