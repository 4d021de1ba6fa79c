"""What a column is: reading the user's rows into numbers, or into texts and their codes.

A column is *numeric* (integers, floats, booleans, dates as days since 1970-01-01) or
*categorical* (texts, pandas categories). This module needs NumPy only, so that an exported
model's raw rows are read the same way in a process without scikit-learn or TensorFlow.
"""

from __future__ import annotations

import datetime
import numbers
from typing import Any

import numpy as np

_MISSING_TYPES = ("NoneType", "NAType", "NaTType")
_DATES = (datetime.date, np.datetime64)
_MICROSECONDS_PER_DAY = 86_400e6


def label(names: list[str] | None, index: int) -> str:
    """How an error message calls a column.

    Parameters
    ----------
    names : list of str, or None
        The columns' names, if they have any.
    index : int
        The column's position, from 0.

    Returns
    -------
    str
        Such as ``"column 'age'"`` or ``"column 3"``.
    """
    return f"column {names[index]!r}" if names is not None else f"column {index}"


def column_kind(values: Any, name: str) -> str:
    """Whether a column of training data is numeric or categorical.

    Parameters
    ----------
    values : ndarray of shape (n_samples,), or a DataFrame's column
        The column.
    name : str
        How an error message calls it.

    Returns
    -------
    str
        ``"numeric"`` or ``"categorical"``. A column without a single value is numeric.

    Raises
    ------
    ValueError
        If it holds complex numbers.
    TypeError
        If it holds something that is neither a number, a date nor a text.
    """
    kind = _dtype_kind(values)
    if kind in "biufmM":
        return "numeric"
    if kind in ("cat", "U", "S"):
        return "categorical"
    _refuse_complex(kind, name)
    return _kind_of_types(_value_types(_objects(values)), name)


def numbers_of(values: Any, name: str) -> np.ndarray:
    """Read a column as numbers.

    Parameters
    ----------
    values : ndarray of shape (n_samples,), or a DataFrame's column
        The column.
    name : str
        How an error message calls it.

    Returns
    -------
    ndarray of shape (n_samples,), float64
        Missing values are NaN; dates are days since 1970-01-01 (UTC).

    Raises
    ------
    ValueError
        If there is a text in it, or complex numbers.
    TypeError
        If it holds something that is neither a number, a date nor a text.
    """
    kind = _dtype_kind(values)
    _refuse_complex(kind, name)
    if kind in "biuf":
        return _plain_numbers(values)
    if kind in "mM":
        return _days(values, kind)
    objects = _objects(values)
    types = _value_types(objects)
    if any(issubclass(t, str | bytes) for t in types):
        text = next(v for v in objects.tolist() if isinstance(v, str | bytes))
        raise ValueError(
            f"X's {name} holds the text {text!r} where numbers belong; convert it first, for "
            "instance with pandas.to_numeric(column, errors='coerce')."
        )
    _kind_of_types(types, name)
    if any(issubclass(t, _DATES) for t in types):
        dates = [None if _is_missing(v) else _utc(v, name) for v in objects.tolist()]
        return _days(np.array(dates, dtype="datetime64[us]"), "M")
    if any(t.__name__ in _MISSING_TYPES for t in types):
        objects = np.array([None if _is_missing(v) else v for v in objects.tolist()], dtype=object)
    return objects.astype(np.float64)


def levels_of(values: Any, name: str) -> tuple[np.ndarray, list[str]]:
    """Read a column as texts, factorised.

    Numbers become their shortest text, and integral ones lose their fraction (``1.0`` is
    ``"1"``), so that a category keeps its name when missing values turn integers into floats.
    A missing value is the empty text.

    Parameters
    ----------
    values : ndarray of shape (n_samples,), or a DataFrame's column
        The column.
    name : str
        How an error message calls it.

    Returns
    -------
    codes : ndarray of shape (n_samples,), intp
        For each row the index of its text in `levels`.
    levels : list of str
        Distinct texts, the empty one among them even when nothing is missing.

    Raises
    ------
    TypeError
        If it holds something that is neither a number, a date nor a text.
    """
    kind = _dtype_kind(values)
    _refuse_complex(kind, name)
    if kind == "cat":
        categories = list(values.cat.categories)
        if values.cat.categories.dtype.kind == "O":  # such as the intervals of pandas.cut
            plain = numbers.Number | bytes
            categories = [c if isinstance(c, plain) else str(c) for c in categories]
        return _merge(np.asarray(values.cat.codes, np.intp), categories, name)
    if kind in "biuf":
        # equal_nan: one level for all NaN, where a dict would keep each apart.
        uniques, codes = np.unique(_plain_numbers(values), return_inverse=True)
        return _merge(codes, uniques.tolist(), name)
    cells = _objects(values).tolist()
    try:
        uniques = list(dict.fromkeys(cells))
    except TypeError:
        raise _foreign(next(type(v) for v in cells if v.__hash__ is None), name) from None
    index = {value: i for i, value in enumerate(uniques)}
    codes = np.fromiter(map(index.__getitem__, cells), np.intp, len(cells))
    return _merge(codes, uniques, name)


def texts_of(values: Any, name: str) -> np.ndarray:
    """Read a column as texts, ``""`` where a value is missing.

    Parameters
    ----------
    values, name
        As in :func:`levels_of`.

    Returns
    -------
    ndarray of shape (n_samples,), object
        Python strings.
    """
    codes, levels = levels_of(values, name)
    return np.array(levels, dtype=object)[codes]


def _merge(codes: np.ndarray, values: list, name: str) -> tuple[np.ndarray, list[str]]:
    """Codes and values to codes and distinct texts; a negative code means missing."""
    texts = [_text(v, name) for v in values]
    levels = {t: i for i, t in enumerate(dict.fromkeys([*texts, ""]))}
    if len(levels) == len(texts) + 1:  # nothing to merge: "" stands last, where code -1 points
        return codes % len(levels), list(levels)
    lookup = np.array([levels[t] for t in [*texts, ""]], dtype=np.intp)
    return lookup[codes], list(levels)


def _text(value: Any, name: str) -> str:
    if isinstance(value, str):
        return str(value)
    if _is_missing(value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, numbers.Number | datetime.date | datetime.timedelta):
        return str(value)
    raise _foreign(type(value), name)


def _is_missing(value: Any) -> bool:
    if type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, numbers.Number) and value != value


def _dtype_kind(values: Any) -> str:
    """NumPy's letter for the column's dtype, or ``"cat"`` for a pandas category."""
    if hasattr(values, "cat") and str(values.dtype) == "category":
        return "cat"
    return getattr(values.dtype, "kind", "O")


def _objects(values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values.astype(object)
    return np.asarray(values.to_numpy(), dtype=object)


def _plain_numbers(values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    try:
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    except TypeError:  # a data frame library whose to_numpy takes no arguments
        return np.asarray(values.to_numpy(), dtype=np.float64)


def _days(values: Any, kind: str) -> np.ndarray:
    if not isinstance(values, np.ndarray):
        # With an explicit dtype a column with a time zone arrives in UTC.
        is_aware = getattr(values.dtype, "tz", None) is not None
        values = values.to_numpy(dtype="datetime64[us]") if is_aware else values.to_numpy()
    steps = values.astype(f"{kind}8[us]")
    return np.where(np.isnat(steps), np.nan, steps.astype(np.float64) / _MICROSECONDS_PER_DAY)


def _utc(value: Any, name: str) -> Any:
    if not isinstance(value, _DATES):
        raise TypeError(
            f"X's {name} mixes dates with values of type {type(value).__name__!r}; make it all "
            "dates or all numbers."
        )
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).replace(tzinfo=None)
    return value


def _value_types(objects: np.ndarray) -> set[type]:
    return set(map(type, objects.tolist()))


def _kind_of_types(types: set[type], name: str) -> str:
    kind = "numeric"
    for t in types:
        if t.__name__ in _MISSING_TYPES:
            continue
        if issubclass(t, str | bytes):
            kind = "categorical"
        elif issubclass(t, complex | np.complexfloating):
            _refuse_complex("c", name)
        elif not issubclass(t, numbers.Number | np.bool_ | datetime.date | np.datetime64):
            raise _foreign(t, name)
    return kind


def _refuse_complex(kind: str, name: str) -> None:
    if kind == "c":
        raise ValueError(
            f"Complex data not supported: X's {name} holds complex numbers; pass real and "
            "imaginary parts as two columns."
        )


def _foreign(got: type, name: str) -> TypeError:
    return TypeError(
        f"X's {name} holds a value of type {got.__name__!r}; a cell's argument must be a string "
        "or a real number, so convert that column first."
    )
