"""Whether a file answers as the model it was made from. Needs NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


class ExportError(ValueError):
    """A model cannot be exported, or its file disagrees with it."""


class Disagreement(ExportError):
    """Outputs differ beyond the tolerance."""


@dataclass(frozen=True)
class Tolerance:
    """How far a file may be from its model.

    Attributes
    ----------
    error : float
        Largest error of a row: of probabilities in absolute terms, of other outputs as a share
        of the output's range over the rows.
    rows : float
        Share of rows that must keep to it.
    agreement : float
        Share of rows that must get the same class. A row whose two best classes Keras itself
        holds within `error` of each other does not count against it.
    """

    error: float
    rows: float
    agreement: float


TOLERANCES = {
    None: Tolerance(1e-4, 1.0, 1.0),
    "float16": Tolerance(1e-2, 1.0, 0.99),
    "dynamic": Tolerance(0.1, 0.95, 0.95),
    "int8": Tolerance(0.1, 0.95, 0.95),
    # 16 steps for all weights of a channel: probabilities move, few classes change.
    "int4": Tolerance(0.25, 0.9, 0.9),
    "int16x8": Tolerance(0.05, 0.95, 0.95),
}


@dataclass(frozen=True)
class Comparison:
    """Figures of :func:`compare`; `agreement` is None unless outputs are probabilities."""

    max_abs_error: float
    agreement: float | None


def compare(
    expected: dict[str, np.ndarray],
    got: dict[str, np.ndarray],
    *,
    quantization: str | None,
    tolerance: float | None = None,
    is_probability: bool | None = None,
) -> Comparison:
    """Compare a file's outputs with Keras', and refuse a file that disagrees.

    Parameters
    ----------
    expected, got : dict of str to ndarray of shape (n_rows, ...)
        Outputs by name.
    quantization : {None, "dynamic", "float16", "int8"}
        Chooses from ``TOLERANCES``.
    tolerance : float, default=None
        Replaces ``Tolerance.error``.
    is_probability : bool, default=None
        Whether outputs are class probabilities. By default they are if no value is negative and
        every row has two or more of them with the sum 1.

    Returns
    -------
    Comparison
        Over all outputs.

    Raises
    ------
    ExportError
        If an output of the file is NaN or infinite, or disagrees beyond the tolerance.
    """
    limits = TOLERANCES[quantization]
    if tolerance is not None:
        limits = replace(limits, error=float(tolerance))
    figures = [
        _compare(expected[name], got[name], limits, quantization, is_probability)
        for name in expected
    ]
    agreements = [f.agreement for f in figures if f.agreement is not None]
    return Comparison(
        max(f.max_abs_error for f in figures), min(agreements) if agreements else None
    )


def check_model(expected: dict[str, np.ndarray]) -> None:
    """Refuse a model whose own outputs are of no use.

    Parameters
    ----------
    expected : dict of str to ndarray of shape (n_rows, ...)
        Keras' outputs by name.

    Raises
    ------
    ExportError
        If one is NaN or infinite.
    """
    for values in expected.values():
        if not np.isfinite(values).all():
            raise ExportError(
                "estimator_or_model: the model itself outputs NaN or infinity on "
                f"{_rows_with(~np.isfinite(values))}; train it again with a lower learning rate, "
                "or look for such values in its weights."
            )


def _compare(expected, got, limits, quantization, is_probability) -> Comparison:
    expected = np.asarray(expected, np.float64)
    got = np.asarray(got, np.float64)
    _check_finite(got)
    if is_probability is None:
        is_probability = are_probabilities(expected)
    n_rows = len(expected)
    expected, got = expected.reshape(n_rows, -1), got.reshape(n_rows, -1)
    errors = np.abs(expected - got)
    scale = 1.0 if is_probability else _range(expected)
    by_row = (errors / scale).max(axis=1)
    within = float((by_row <= limits.error).mean())
    agreement = None
    undisputed = 1.0
    if is_probability:
        chosen = got.argmax(axis=1)
        same = chosen == expected.argmax(axis=1)
        agreement = float(same.mean())
        margin = expected.max(axis=1) - expected[np.arange(n_rows), chosen]
        undisputed = float((margin <= limits.error).mean())
    # One stray row among twenty is not yet evidence.
    one_row = 1.0 - 1.0 / n_rows if limits.rows < 1 else 1.0
    if within < min(limits.rows, one_row) or undisputed < min(limits.agreement, one_row):
        raise Disagreement(
            _disagreement(errors.max(), by_row, limits, agreement, quantization, is_probability)
        )
    return Comparison(float(errors.max()), agreement)


def are_probabilities(values: np.ndarray) -> bool:
    """Whether each row holds two or more shares of one whole."""
    if values.ndim != 2 or values.shape[1] < 2:
        return False
    return bool((values >= 0).all() and np.allclose(values.sum(axis=1), 1.0, atol=1e-3))


def _check_finite(got: np.ndarray) -> None:
    if not np.isfinite(got).all():
        raise Disagreement(
            "estimator_or_model: the exported file outputs NaN or infinity where Keras does not, "
            f"on {_rows_with(~np.isfinite(got))}; no file was written."
        )


def _rows_with(mask: np.ndarray) -> str:
    affected = mask.reshape(len(mask), -1).any(axis=1)
    return f"{int(affected.sum())} of {len(mask)} rows"


def _range(values: np.ndarray) -> np.ndarray:
    """Each output's range; of a nearly constant one, a thousandth of its size."""
    largest = np.abs(values).max(axis=0)
    scale = np.maximum(np.ptp(values, axis=0), 1e-3 * largest)
    return np.where(scale > 0, scale, 1.0)


def _disagreement(largest, by_row, limits, agreement, quantization, is_probability) -> str:
    kind = "float32" if quantization is None else quantization
    what = "probabilities" if is_probability else "outputs, as a share of their range,"
    share = f"{limits.rows:.0%} of" if limits.rows < 1 else "all"
    figures = (
        f"its {what} differ by up to {by_row.max():.3g} ({(by_row > limits.error).mean():.1%} of"
        f" {len(by_row)} rows beyond {limits.error:g}; {share} rows must be within)"
    )
    if agreement is not None:
        figures += f", and the class agrees on {agreement:.1%} of rows"
    cures = {
        None: "raise tolerance= if that is good enough",
        "float16": "use quantization=None, or raise tolerance= if that is good enough",
    }
    cure = cures.get(quantization, "use quantization='float16', or raise tolerance=")
    return (
        f"estimator_or_model: the {kind} file disagrees with Keras: {figures}; no file was "
        f"written. To mend it, {cure}."
    )
