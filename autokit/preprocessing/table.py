"""The encoder of tables: numbers standardised, categories one-hot, missing values handled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from autokit.preprocessing import raw
from autokit.preprocessing.columns import levels_of
from autokit.preprocessing.rows import Rows, read_table
from autokit.preprocessing.scaling import NotFinite, affine, moments, spread
from autokit.preprocessing.validation import check_columns, check_numbers, labels_of

if TYPE_CHECKING:
    from autokit._backend import tf


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode a table of numeric and categorical columns as float32.

    ::

        numeric       (x - mean) / std, in float64; missing -> mean
                      and, if training had missing values, a column x_missing of 0 or 1
        categorical   one column for each of the most frequent categories, 1 where it is;
                      unseen and missing -> all 0

    A column is numeric if it holds integers, floats, booleans or dates (days since 1970-01-01),
    and categorical if it holds texts or is a pandas category. The empty text counts as missing.
    Encoded columns come in this order: numeric ones, their missing indicators, categorical ones.

    Parameters
    ----------
    standardize : bool, default=True
        Whether numeric columns are standardised. Otherwise they pass as they are (missing
        values still become the mean).
    max_categories : int, default=64
        How many categories of a column, at most, get a column of their own; ties go to the
        first in alphabetical order.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,), object
        Their names; only if X had texts as names.
    kinds_ : list of str
        ``"numeric"`` or ``"categorical"``, for each column.
    mean_, scale_ : ndarray of shape (n_numeric,), float64
        Mean of each numeric column, and what it is divided by (1 without `standardize`).
    missing_ : list of int
        Positions, among numeric columns, of those with an indicator.
    categories_ : list of list of str
        Categories of each categorical column, in alphabetical order.
    encoded_shape_ : tuple of int
        Shape of an encoded row.
    kind_ : str
        ``"table"``.

    See Also
    --------
    ArrayEncoder : The same for images and sequences.

    Examples
    --------
    >>> import pandas as pd
    >>> from autokit.preprocessing import TableEncoder
    >>> X = pd.DataFrame({"age": [20.0, 40.0, None], "city": ["Rome", "Oslo", "Rome"]})
    >>> encoder = TableEncoder().fit(X)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'age_missing', 'city_Oslo', 'city_Rome']
    >>> encoder.transform(X)
    array([[-1.,  0.,  0.,  1.],
           [ 1.,  0.,  1.,  0.],
           [ 0.,  1.,  0.,  1.]], dtype=float32)
    """

    kind_ = "table"

    def __init__(self, standardize: bool = True, max_categories: int = 64):
        self.standardize = standardize
        self.max_categories = max_categories

    def fit(self, X: Any, y: Any = None) -> TableEncoder:
        """Learn columns, means, spreads and categories.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        TableEncoder
            Itself.

        Raises
        ------
        ValueError
            If X is not two-dimensional, is empty, ragged, complex, or infinite, or if
            `max_categories` is below 1.
        TypeError
            If X is sparse, or a cell is neither number, date nor text.
        """
        if not isinstance(self.max_categories, int | np.integer) or self.max_categories < 1:
            raise ValueError(
                f"max_categories must be an int of at least 1, got {self.max_categories!r}; the "
                "default is 64."
            )
        rows = read_table(X, type(self).__name__)
        kinds = rows.kinds()
        self.n_features_in_ = rows.n_columns
        if rows.names is not None:
            self.feature_names_in_ = np.array(rows.names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self.kinds_ = kinds
        self._fit_numbers(rows)
        self.categories_ = [
            _most_frequent(*levels_of(rows.column(i), rows.label(i)), self.max_categories)
            for i in self._indices("categorical")
        ]
        n_encoded = len(self.mean_) + len(self.missing_) + sum(map(len, self.categories_))
        if n_encoded == 0:
            raise ValueError(
                "X has no value in any column: all categories are missing; drop empty columns."
            )
        self.encoded_shape_ = (n_encoded,)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Encode rows; scikit-learn's face of :meth:`encode`.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n_samples, n_encoded), float32
            Or a DataFrame, after ``set_output(transform="pandas")``.

        Raises
        ------
        ValueError
            As :meth:`encode`.
        """
        check_is_fitted(self)
        return self.encode(X)

    def encode(self, X: Any, owner: str | None = None) -> np.ndarray:
        """Encode rows, always to an array: estimators use this one.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        owner : str, default=None
            The estimator's name, for messages.

        Returns
        -------
        ndarray of shape (n_samples, n_encoded), float32
            Encoded rows.

        Raises
        ------
        ValueError
            If columns are not those of ``fit``, texts stand where numbers belong, or a number
            is infinite or beyond float32.
        TypeError
            If X is sparse, or a cell is neither number, date nor text.
        """
        if self._is_plain(X):
            encoded = affine(X, self._offset, self._inverse)
            # One dot product shows a NaN or an infinity faster than isfinite does.
            if math.isfinite(np.vdot(encoded, encoded)):
                return encoded
        owner = owner or type(self).__name__
        rows = read_table(X, owner)
        check_columns(rows.names, rows.n_columns, self._names(), self.n_features_in_, owner)
        encoded = np.zeros((rows.n_rows, *self.encoded_shape_), np.float32)
        self._encode_numbers(rows, encoded)
        start = len(self.mean_) + len(self.missing_)
        for i, categories in zip(self._indices("categorical"), self.categories_, strict=True):
            codes, levels = levels_of(rows.column(i), rows.label(i))
            position = {category: k for k, category in enumerate(categories)}
            known = np.array([position.get(level, -1) for level in levels], np.intp)[codes]
            where = np.flatnonzero(known >= 0)
            encoded[where, start + known[where]] = 1.0
            start += len(categories)
        return encoded

    def raw_tensors(self, X: Any, owner: str | None = None) -> dict[str, np.ndarray]:
        """Rows as the arrays that an exported file takes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows.
        owner : str, default=None
            The estimator's name, for messages.

        Returns
        -------
        dict of str to ndarray
            ``rows`` (float32, NaN where missing) for an all-numeric table, otherwise
            ``numeric`` (likewise) and ``categorical`` (texts, ``""`` where missing).

        Raises
        ------
        ValueError, TypeError
            As :meth:`encode`.
        """
        return raw.table_tensors(X, self._names(), self.kinds_, owner or type(self).__name__)

    def raw_specs(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return each raw tensor's name, shape without batch, and dtype."""
        return raw.table_specs(self.kinds_)

    def graph(self, tensors: dict[str, tf.Tensor]) -> tf.Tensor:
        """Encode raw tensors, in TensorFlow operations that LiteRT has built in.

        Parameters
        ----------
        tensors : dict of str to tf.Tensor
            As :meth:`raw_tensors`, with a batch dimension that may be dynamic.

        Returns
        -------
        tf.Tensor of shape (batch, n_encoded), float32
            What :meth:`encode` computes, up to rounding in float32.
        """
        from autokit.preprocessing.graph import encode_table

        numbers = tensors.get(raw.ROWS, tensors.get(raw.NUMERIC))
        return encode_table(
            numbers,
            tensors.get(raw.CATEGORICAL),
            mean=self.mean_,
            scale=self.scale_ if self.standardize else None,
            missing=self.missing_,
            categories=self.categories_,
        )

    def describe(self) -> dict:
        """Describe raw columns and their encoding, for JSON.

        Returns
        -------
        dict
            ``kind``, ``standardize``, ``encoded_shape`` and ``columns``: for each its ``name``
            (None without names) and ``kind``, then ``mean``, ``scale`` and ``indicator``, or
            ``categories``. :class:`RawRows` reads rows from it.
        """
        names = self._names() or [None] * self.n_features_in_
        columns: list[dict] = [
            {"name": name, "kind": kind} for name, kind in zip(names, self.kinds_, strict=True)
        ]
        for position, i in enumerate(self._indices("numeric")):
            columns[i]["mean"] = float(self.mean_[position])
            columns[i]["scale"] = float(self.scale_[position])
            columns[i]["indicator"] = position in self.missing_
        for i, categories in zip(self._indices("categorical"), self.categories_, strict=True):
            columns[i]["categories"] = list(categories)
        return {
            "kind": self.kind_,
            "standardize": bool(self.standardize),
            "encoded_shape": list(self.encoded_shape_),
            "columns": columns,
        }

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> np.ndarray:
        """Names of encoded columns.

        Parameters
        ----------
        input_features : sequence of str, default=None
            Names of the columns; by default those of ``fit``, or ``x0``, ``x1``, ...

        Returns
        -------
        ndarray of shape (n_encoded,), object
            ``age``, ``age_missing``, ``city_Oslo``, ...

        Raises
        ------
        ValueError
            If `input_features` are not the columns of ``fit``.
        """
        check_is_fitted(self)
        names = _input_names(input_features, self._names(), self.n_features_in_)
        numeric = [names[i] for i in self._indices("numeric")]
        out = [*numeric, *(f"{numeric[position]}_missing" for position in self.missing_)]
        for i, categories in zip(self._indices("categorical"), self.categories_, strict=True):
            out.extend(f"{names[i]}_{category}" for category in categories)
        return np.array(out, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _fit_numbers(self, rows: Rows) -> None:
        indices = self._indices("numeric")
        numbers = rows.numbers(indices)
        try:
            count, self.mean_, variance = moments(numbers)
        except NotFinite:
            check_numbers(numbers, labels_of(rows.names, indices), allow_missing=True)
            raise
        n_numeric = len(indices)
        self.scale_ = spread(self.mean_, variance) if self.standardize else np.ones(n_numeric)
        self._offset = self.mean_ if self.standardize else np.zeros(n_numeric)
        self._inverse = 1.0 / self.scale_
        self.missing_ = np.flatnonzero(count < rows.n_rows).tolist()

    def _encode_numbers(self, rows: Rows, encoded: np.ndarray) -> None:
        indices = self._indices("numeric")
        numbers = rows.numbers(indices)
        scaled = affine(numbers, self._offset, self._inverse)
        if not np.isfinite(scaled).all():
            if np.isinf(scaled).any():
                check_numbers(numbers, labels_of(rows.names, indices), allow_missing=True)
            missing = np.isnan(scaled)
            fill = affine(self.mean_, self._offset, self._inverse)
            scaled = np.where(missing, fill, scaled)
            encoded[:, len(indices) : len(indices) + len(self.missing_)] = missing[:, self.missing_]
        encoded[:, : len(indices)] = scaled

    def _is_plain(self, X: Any) -> bool:
        """Whether encoding is the affine map alone (then one row costs microseconds)."""
        return (
            type(X) is np.ndarray
            and X.dtype.kind == "f"
            and X.ndim == 2
            and X.shape[1] == len(self.mean_) == self.encoded_shape_[0]
            and X.shape[0] > 0
            and not hasattr(self, "feature_names_in_")
        )

    def _names(self) -> list[str] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else names.tolist()

    def _indices(self, kind: str) -> list[int]:
        return [i for i, k in enumerate(self.kinds_) if k == kind]


def _most_frequent(codes: np.ndarray, levels: list[str], n_most: int) -> list[str]:
    counts = np.bincount(codes, minlength=len(levels)).tolist()
    seen = [(-n, level) for n, level in zip(counts, levels, strict=True) if n and level]
    return sorted(level for _, level in sorted(seen)[:n_most])


def _input_names(
    given: Sequence[str] | None, fitted: list[str] | None, n_features: int
) -> list[str]:
    if given is None:
        return fitted or [f"x{i}" for i in range(n_features)]
    given = list(given)
    if fitted is not None and given != fitted:
        raise ValueError("input_features is not equal to feature_names_in_; leave it out.")
    if len(given) != n_features:
        raise ValueError(
            f"input_features should have length equal to number of features ({n_features}), got "
            f"{len(given)}"
        )
    return given
