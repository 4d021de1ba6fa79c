"""What is learnt: class labels as codes, numbers scaled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from autokit.preprocessing.scaling import NotFinite, moments, spread

if TYPE_CHECKING:
    from autokit._backend import tf


class ClassLabels:
    """Class labels as integer codes.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Distinct labels, sorted.

    Examples
    --------
    >>> from autokit.preprocessing import ClassLabels
    >>> labels = ClassLabels().fit(["no", "yes", "no"])
    >>> labels.encode(["yes", "no"])
    array([1, 0], dtype=int32)
    >>> labels.decode([0, 1]).tolist()
    ['no', 'yes']
    """

    def fit(self, y: Any, owner: str = "ClassLabels", n_least: int = 2) -> ClassLabels:
        """Learn the labels.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Integers, booleans or texts.
        owner : str, default="ClassLabels"
            The estimator's name, for messages.
        n_least : int, default=2
            Classes that there must be: 1 where others may come later.

        Returns
        -------
        ClassLabels
            Itself.

        Raises
        ------
        ValueError
            If y is None, not one-dimensional, empty, holds NaN, infinity or continuous numbers,
            mixes texts and numbers, or has fewer than `n_least` classes.
        """
        from sklearn.utils.multiclass import check_classification_targets

        labels = _labels(y, owner)
        check_classification_targets(labels)
        classes = np.unique(labels)
        if len(classes) < n_least:
            raise ValueError(
                f"y has one class, {classes.tolist()[0]!r}, but {owner} needs at least two classes "
                "to tell apart; check how y was made."
            )
        self.classes_ = classes
        return self

    def encode(self, y: Any, owner: str = "ClassLabels") -> np.ndarray:
        """Labels to codes.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Labels.
        owner : str, default="ClassLabels"
            The estimator's name, for messages.

        Returns
        -------
        ndarray of shape (n_samples,), int32
            Positions in ``classes_``.

        Raises
        ------
        ValueError
            If y is not one-dimensional, or holds a label that was not in ``fit``.
        """
        labels = _labels(y, owner)
        codes = {label: code for code, label in enumerate(self.classes_.tolist())}
        uniques, inverse = _factorise(labels)
        unknown = [label for label in uniques if label not in codes]
        if unknown:
            raise ValueError(
                f"y has labels that were not in fit, such as {unknown[0]!r}; known classes are "
                f"{shortened(self.classes_.tolist())}: refit with all of them."
            )
        return np.array([codes[label] for label in uniques], dtype=np.int32)[inverse]

    def decode(self, codes: Any) -> np.ndarray:
        """Codes to labels.

        Parameters
        ----------
        codes : array-like of shape (n_samples,), int
            Positions in ``classes_``.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        return self.classes_[np.asarray(codes, dtype=np.intp)]

    def describe(self) -> dict:
        """Return ``kind`` and ``classes``, for JSON."""
        return {"kind": "classes", "classes": self.classes_.tolist()}


class RegressionTarget:
    """Numbers to predict, scaled: ``(y - mean) / std`` for each output, in float64.

    Parameters
    ----------
    standardize : bool, default=True
        Whether to scale.

    Attributes
    ----------
    n_outputs_ : int
        Number of outputs.
    ndim_ : int
        1 if y had no second axis: then neither have predictions.
    mean_, scale_ : ndarray of shape (n_outputs_,), float64
        What is subtracted, and what is divided by (0 and 1 without `standardize`).

    Examples
    --------
    >>> from autokit.preprocessing import RegressionTarget
    >>> target = RegressionTarget().fit([1.0, 3.0])
    >>> target.encode([1.0, 3.0, 5.0]).tolist()
    [[-1.0], [1.0], [3.0]]
    >>> target.decode([[0.0]]).tolist()
    [2.0]
    """

    def __init__(self, standardize: bool = True):
        self.standardize = standardize

    def fit(self, y: Any, owner: str = "RegressionTarget") -> RegressionTarget:
        """Learn means and spreads.

        Parameters
        ----------
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Numbers.
        owner : str, default="RegressionTarget"
            The estimator's name, for messages.

        Returns
        -------
        RegressionTarget
            Itself.

        Raises
        ------
        ValueError
            If y is None, of another rank, empty, ragged, complex, or not of finite numbers.
        """
        values = _values(y, owner)
        self.ndim_ = values.ndim
        values = values.reshape(len(values), -1)
        self.n_outputs_ = values.shape[1]
        self.mean_, self.scale_ = np.zeros(self.n_outputs_), np.ones(self.n_outputs_)
        if self.standardize:
            try:
                _, self.mean_, variance = moments(values)
            except NotFinite:
                raise ValueError(
                    "y holds values too large for dtype('float32'); divide it by a constant."
                ) from None
            self.scale_ = spread(self.mean_, variance)
        return self

    def encode(self, y: Any, owner: str = "RegressionTarget") -> np.ndarray:
        """Numbers to scaled ones.

        Parameters
        ----------
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Numbers.
        owner : str, default="RegressionTarget"
            The estimator's name, for messages.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs), float32
            Scaled.

        Raises
        ------
        ValueError
            As ``fit``, and if the number of outputs differs.
        """
        values = _values(y, owner)
        values = values.reshape(len(values), -1)
        if values.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {values.shape[1]} outputs, but {owner} was fitted with {self.n_outputs_}; "
                "pass the same columns."
            )
        return ((values - self.mean_) / self.scale_).astype(np.float32)

    def decode(self, outputs: Any) -> np.ndarray:
        """Scaled numbers to the target's units.

        Parameters
        ----------
        outputs : array-like of shape (n_samples, n_outputs)
            A model's outputs.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs), float64
            Of the rank that y had in ``fit``.
        """
        values = np.asarray(outputs, dtype=np.float64) * self.scale_ + self.mean_
        return values[:, 0] if self.ndim_ == 1 else values

    def graph(self, outputs: tf.Tensor) -> tf.Tensor:
        """Scaled numbers to the target's units, in TensorFlow.

        Parameters
        ----------
        outputs : tf.Tensor of shape (batch, n_outputs), float32
            A model's outputs.

        Returns
        -------
        tf.Tensor of shape (batch, n_outputs), float32
            In the target's units.
        """
        if not self.standardize:
            return outputs
        return outputs * self.scale_.astype(np.float32) + self.mean_.astype(np.float32)

    def describe(self) -> dict:
        """Return ``kind``, ``n_outputs``, ``ndim``, ``mean`` and ``scale``, for JSON."""
        return {
            "kind": "numbers",
            "n_outputs": self.n_outputs_,
            "ndim": self.ndim_,
            "mean": self.mean_.tolist(),
            "scale": self.scale_.tolist(),
        }


def _labels(y: Any, owner: str) -> np.ndarray:
    from sklearn.utils import column_or_1d

    labels = _target_array(y, owner)
    if labels.dtype.kind == "O":
        cells = labels.ravel().tolist()
        _refuse_missing(np.array([v is None or v != v for v in cells], bool))
        kinds = set(map(type, cells))
        if len(kinds) > 1 and any(issubclass(kind, str) for kind in kinds):
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(
                f"y mixes labels of types {names}; make them all texts or all integers."
            )
        if str not in kinds:  # numbers in an object array: scikit-learn wants their own dtype
            labels = np.array(cells).reshape(labels.shape)
    elif labels.dtype.kind == "f":
        _refuse_missing(np.isnan(labels.ravel()))
        if np.isinf(labels).any():
            raise ValueError(
                "Input y contains infinity or a value too large for dtype('float64'); labels must "
                "be integers, booleans or texts."
            )
    return column_or_1d(labels, warn=True)


def _values(y: Any, owner: str) -> np.ndarray:
    values = _target_array(y, owner)
    if values.ndim > 2:
        raise ValueError(
            f"y must be of shape (n_samples,) or (n_samples, n_outputs), got {values.shape}; "
            "flatten each target with y.reshape(len(y), -1)."
        )
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        example = next((v for v in values.ravel().tolist() if isinstance(v, str)), None)
        raise ValueError(
            f"y must hold numbers for a regression, got {example!r}; convert it, or use a "
            "classifier for labels."
        ) from error
    _refuse_missing(np.isnan(values).reshape(len(values), -1).any(axis=1))
    if np.isinf(values).any():
        row = int(np.argwhere(np.isinf(values))[0][0])
        raise ValueError(
            "Input y contains infinity or a value too large for dtype('float64'), in row "
            f"{row}; drop that row."
        )
    return values


def _target_array(y: Any, owner: str) -> np.ndarray:
    if y is None:
        raise ValueError(
            f"{owner} requires y to be passed, but the target y is None; call fit(X, y)."
        )
    try:
        array = np.asarray(y)
        if array.dtype.kind in "US" and not isinstance(y, np.ndarray):
            array = np.asarray(y, dtype=object)  # numbers beside texts were made texts
    except ValueError as error:
        raise ValueError("y has ragged rows; give every row the same number of outputs.") from error
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: y has dtype {array.dtype}; use y.real.")
    if array.ndim == 0:
        raise ValueError(
            f"y should be a 1d array, got {y!r} instead; pass one target for each row of X."
        )
    if len(array) == 0:
        raise ValueError("Found y with 0 sample(s) while a minimum of 1 is required: y is empty.")
    return array


def _refuse_missing(missing: np.ndarray) -> None:
    if missing.any():
        rows = np.flatnonzero(missing)
        raise ValueError(
            f"Input y contains NaN. {len(rows)} of {len(missing)} targets are missing, the first "
            f"in row {rows[0]}; drop those rows."
        )


def _factorise(labels: np.ndarray) -> tuple[list, np.ndarray]:
    if labels.dtype.kind != "O":
        uniques, inverse = np.unique(labels, return_inverse=True)
        return uniques.tolist(), inverse
    cells = labels.tolist()
    index = {label: i for i, label in enumerate(dict.fromkeys(cells))}
    return list(index), np.fromiter(map(index.__getitem__, cells), np.intp, len(cells))


def shortened(labels: list, n_most: int = 8) -> str:
    """The first labels, for a message."""
    shown = ", ".join(map(repr, labels[:n_most]))
    return f"[{shown}, ...]" if len(labels) > n_most else f"[{shown}]"
