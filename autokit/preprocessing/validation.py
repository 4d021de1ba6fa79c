"""Checks of rows against what was fitted, with messages that teach. Needs NumPy only."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from autokit.preprocessing.columns import label

FLOAT32_MAX = float(np.finfo(np.float32).max)
_NAMED = 5


def check_columns(
    names: list[str] | None,
    n_columns: int,
    expected_names: list[str] | None,
    n_expected: int,
    owner: str,
) -> None:
    """Check that rows have the columns that were fitted.

    Parameters
    ----------
    names : list of str, or None
        Names of the columns, if they have any.
    n_columns : int
        Their number.
    expected_names : list of str, or None
        Names at fit time.
    n_expected : int
        Number at fit time.
    owner : str
        The estimator's name, for messages.

    Raises
    ------
    ValueError
        If names are missing, unknown, or in another order; or if the number differs. The
        wording is scikit-learn's.

    Warns
    -----
    UserWarning
        If only one of the two has names.
    """
    if names is not None and expected_names is not None:
        if names != expected_names:
            raise ValueError(_name_mismatch(names, expected_names))
        return
    if n_columns != n_expected:
        raise ValueError(
            f"X has {n_columns} features, but {owner} is expecting {n_expected} features as input."
        )
    if names is None and expected_names is not None:
        message = f"X does not have valid feature names, but {owner} was fitted with feature names"
    elif names is not None:
        message = f"X has feature names, but {owner} was fitted without feature names"
    else:
        return
    warnings.warn(message, UserWarning, stacklevel=4)


def _name_mismatch(names: list[str], expected: list[str]) -> str:
    message = "The feature names should match those that were passed during fit.\n"
    unseen = sorted(set(names) - set(expected))
    missing = sorted(set(expected) - set(names))
    if unseen:
        message += "Feature names unseen at fit time:\n" + _listed(unseen)
    if missing:
        message += "Feature names seen at fit time, yet now missing:\n" + _listed(missing)
    if not unseen and not missing:
        message += "Feature names must be in the same order as they were in fit.\n"
    return message


def _listed(names: list[str]) -> str:
    shown = [*names[:_NAMED], "..."] if len(names) > _NAMED else names
    return "".join(f"- {name}\n" for name in shown)


def check_numbers(values: np.ndarray, labels: list[str], *, allow_missing: bool) -> None:
    """Check that columns hold numbers that a float32 can.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_columns)
        Numbers.
    labels : list of str
        How messages call each column.
    allow_missing : bool
        Whether NaN may be there.

    Raises
    ------
    ValueError
        If there is an infinity, a number beyond float32, or a NaN that may not be there.
    """
    with np.errstate(invalid="ignore"):
        huge = ~(np.abs(values.astype(np.float64)) <= FLOAT32_MAX)
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    for bad, what, cure in (
        (
            huge & ~missing,
            "infinity or a value too large for dtype('float32')",
            "replace it, or mark it as missing with NaN",
        ),
        (missing if not allow_missing else None, "NaN", "fill missing values, or drop their rows"),
    ):
        if bad is not None and bad.any():
            row, column = np.argwhere(bad)[0]
            raise ValueError(
                f"Input X contains {what}: {values[row, column]} in row {row} of {labels[column]}; "
                f"{cure}."
            )


def check_array(array: np.ndarray, owner: str | None = None) -> np.ndarray:
    """Check that images or sequences are finite numbers.

    Parameters
    ----------
    array : ndarray of shape (n_samples, ...)
        Numbers.
    owner : str, default=None
        The estimator's name, for messages.

    Returns
    -------
    ndarray
        The same, as float64 if it held Python numbers.

    Raises
    ------
    ValueError
        If it is empty, if they are not numbers, or some are NaN, infinite, or beyond float32.
    """
    refuse_empty(array.shape, owner)
    if array.dtype.kind == "O" and not any(isinstance(v, str | bytes) for v in array.flat):
        array = array.astype(np.float64)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"X of rank {array.ndim} must hold numbers where it holds texts (dtype {array.dtype}); "
            "convert it with X.astype('float32')."
        )
    # A NaN fails both comparisons.
    if array.dtype.kind == "f" and not (
        float(array.min()) >= -FLOAT32_MAX and float(array.max()) <= FLOAT32_MAX
    ):
        flat = array.reshape(len(array), -1)
        check_numbers(flat, _InArray(array.shape[1:]), allow_missing=False)
    return array


def refuse_empty(shape: tuple[int, ...], owner: str | None) -> None:
    """Raise if there are no rows, or no features.

    Parameters
    ----------
    shape : tuple of int
        Shape of the rows.
    owner : str or None
        The estimator's name, for the message.

    Raises
    ------
    ValueError
        In scikit-learn's words.
    """
    whom = f" by {owner}" if owner else ""
    what = "sample" if shape[0] == 0 else "feature"
    if 0 in shape:
        raise ValueError(
            f"Found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is required{whom}: "
            f"X is empty; pass at least one {what}."
        )


class _InArray:
    """Labels of the places in an array, made when asked."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def __getitem__(self, index: int) -> str:
        place = tuple(int(i) for i in np.unravel_index(int(index), self.shape))
        return f"an array, at {place}"


def check_lengths(X: Any, y: Any, sample_weight: Any = None) -> None:
    """Check that rows, targets and weights are equally many.

    Parameters
    ----------
    X, y : array-like, DataFrame or Series
        Rows and targets.
    sample_weight : array-like, default=None
        Weights.

    Raises
    ------
    ValueError
        If their lengths differ.
    """
    lengths = {"X": _length(X, "X"), "y": _length(y, "y")}
    if sample_weight is not None:
        lengths["sample_weight"] = _length(sample_weight, "sample_weight")
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: {got}; pass one of each "
            "for every row."
        )


def _length(values: Any, name: str) -> int:
    shape = getattr(values, "shape", None)
    if shape:
        return int(shape[0])
    try:
        return len(values)
    except TypeError:
        pass
    array = np.asarray(values)
    if array.ndim == 0:
        raise ValueError(
            f"{name} must be an array with one entry for each row, got {values!r}; pass a list or "
            "an array."
        )
    return len(array)


def labels_of(names: list[str] | None, indices: list[int]) -> list[str]:
    """How messages call the columns at some positions.

    Parameters
    ----------
    names : list of str, or None
        Names of all columns.
    indices : list of int
        Positions.

    Returns
    -------
    list of str
        One for each position.
    """
    return [label(names, i) for i in indices]
