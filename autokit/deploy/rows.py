"""The rows on which a file is calibrated and proved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit.deploy.network import one_line
from autokit.deploy.proof import ExportError
from autokit.deploy.quantizers import QUANTIZERS
from autokit.deploy.subject import Subject

_PROOF_ROWS = 256
_CALIBRATION_ROWS = 500
_MIN_CALIBRATION_ROWS = 32


@dataclass(frozen=True)
class Rows:
    """Some rows, as the user has them and as the file takes them.

    Attributes
    ----------
    user : Any
        In the user's format; None for synthetic ones.
    tensors : dict of str to ndarray
        As raw inputs.
    source : str
        "representative_data", "training" or "synthetic".
    """

    user: Any
    tensors: dict[str, np.ndarray]
    source: str

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def for_proof(self) -> Rows:
        """Return at most 256 of them, spread over all."""
        chosen = _spread(len(self), _PROOF_ROWS)
        user = None if self.user is None else _take(self.user, chosen)
        return Rows(user, {k: v[chosen] for k, v in self.tensors.items()}, self.source)

    def expected(self, subject: Subject) -> dict[str, np.ndarray]:
        """Return what Keras answers."""
        if self.user is None:
            return subject.expected_of(self.tensors)
        return subject.expected(self.user)


def gather(subject: Subject, representative_data: Any, quantization: str | None) -> Rows:
    """Find rows to prove a file on, and to calibrate it where the quantisation needs that.

    Parameters
    ----------
    subject : Subject
        What is exported.
    representative_data : Any
        The user's rows, or None: then the training rows that the estimator keeps as
        ``sample_rows_``, or, but not to calibrate, rows drawn about the encoder's means.
    quantization : str or None
        As asked for.

    Returns
    -------
    Rows
        At most 500.

    Raises
    ------
    ExportError
        If there are no real rows to calibrate with or too few, or they do not fit the model.
    """
    is_calibrated = QUANTIZERS[quantization].is_calibrated
    user, source = representative_data, "representative_data"
    if user is None:
        user, source = getattr(subject.estimator, "sample_rows_", None), "training"
    if user is None:
        if is_calibrated:
            raise ExportError(
                f"representative_data is needed for quantization={quantization!r}, to learn the "
                "ranges of values; pass 100 to 500 training rows, such as X_train[:200]."
            )
        return Rows(None, subject.synthetic(np.random.default_rng(0)), "synthetic")
    try:
        if len(subject.specs) > 1 and isinstance(user, list | tuple) and subject.estimator is None:
            user = dict(zip(subject.specs, user, strict=True))
        user = _take(user, _spread(_length(user), _CALIBRATION_ROWS))
        rows = Rows(user, subject.tensors(user), source)
    except (ValueError, TypeError) as error:
        raise ExportError(
            f"representative_data does not fit the model: {one_line(error)}"
        ) from error
    least = _MIN_CALIBRATION_ROWS if is_calibrated else 1
    if len(rows) < least:
        raise ExportError(
            f"representative_data has {len(rows)} rows; quantization={quantization!r} needs at "
            f"least {least}, 100 to 500 are enough."
        )
    return rows


def _spread(n: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int)) if n else np.arange(0)


def _length(X: Any) -> int:
    return len(next(iter(X.values()))) if isinstance(X, dict) else len(X)


def _take(X: Any, chosen: np.ndarray) -> Any:
    if isinstance(X, dict):
        return {name: _take(values, chosen) for name, values in X.items()}
    if hasattr(X, "iloc"):
        return X.iloc[chosen]
    # A list of rows may mix texts and numbers: an array would make all of them texts.
    return [X[i] for i in chosen] if isinstance(X, list | tuple) else X[chosen]
