"""The contract of every exported file, as tests to reuse.

An estimator of ``testing.estimators.TINY`` is in it by itself; another kind of data or network
joins with one row in `CASES`::

    @pytest.mark.parametrize("quantization", QUANTIZERS)
    @pytest.mark.parametrize("name", CASES)
    def test_contract(name, quantization, tmp_path):
        check_export(name, quantization, tmp_path)
"""

from __future__ import annotations

import functools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from autokit import __version__
from autokit._backend import keras
from autokit.deploy import ExportError, TFLiteModel, export_tflite
from autokit.deploy.flatbuffer import BUILTIN_OPERATORS
from autokit.deploy.proof import TOLERANCES
from autokit.testing.estimators import TINY, tiny

_N_ROWS = 160
_layers = keras.layers


class Case(NamedTuple):
    """What is fitted, and on which rows.

    Attributes
    ----------
    estimator : str
        A key of ``TINY``.
    rows : callable
        Gives X and class labels.
    parameters : dict
        Of the estimator, beyond its tiny ones.
    refused : dict of str to str
        Quantisations that cannot hold it, each with the message that says so.
    """

    estimator: str
    rows: Callable[[], tuple[Any, np.ndarray]]
    parameters: dict[str, Any] = {}
    refused: dict[str, str] = {}


def table_rows(n_rows: int = _N_ROWS) -> tuple[Any, np.ndarray]:
    """Columns of range 1 and 1e5, one far from 0, texts, missing values; and classes."""
    import pandas as pd

    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "small": rng.normal(size=n_rows),
            "large": 3e4 + 1e5 * rng.normal(size=n_rows),
            "year": rng.integers(1950, 2020, n_rows).astype(float),
            "city": rng.choice(["Rome", "Oslo", "Zürich"], n_rows),
        }
    )
    signal = X["small"] + X["large"] / 1e5 + (X["city"] == "Rome")
    X.loc[::7, "small"] = np.nan
    X.loc[::11, "city"] = None
    return X, np.where(signal > signal.median(), "yes", "no")


def image_rows() -> tuple[np.ndarray, np.ndarray]:
    """Noise of 8 x 8 pixels, brighter in one of three rows of pixels; and which."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, _N_ROWS)
    X = rng.integers(0, 8, (_N_ROWS, 8, 8, 1)).astype(np.float32)
    X[np.arange(_N_ROWS), 2 * y + 1] += 8
    return X / 16, y


def sequence_rows() -> tuple[np.ndarray, np.ndarray]:
    """Noise of 6 steps and 3 features; and which feature is the largest in all."""
    X = np.random.default_rng(0).normal(size=(_N_ROWS, 6, 3)).astype(np.float32)
    X += 0.7 * np.eye(3, dtype=np.float32)[np.arange(_N_ROWS) % 3][:, None]
    return X, X.sum(axis=1).argmax(axis=1)


def _convolutions(shape: tuple[int, ...], n_outputs: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape),
            _layers.Conv2D(8, 3, activation="relu"),
            _layers.BatchNormalization(),
            _layers.SeparableConv2D(8, 3, activation="relu"),
            _layers.Flatten(),
            _layers.Dense(n_outputs, activation="softmax"),
        ]
    )


def _recurrent(shape: tuple[int, ...], n_outputs: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape),
            _layers.Bidirectional(_layers.LSTM(6)),
            _layers.Dense(n_outputs, activation="softmax"),
        ]
    )


def _masked(shape: tuple[int, ...], n_outputs: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape),
            _layers.Masking(),
            _layers.GRU(6),
            _layers.Dense(n_outputs, activation="softmax"),
        ]
    )


def _attention(shape: tuple[int, ...], n_outputs: int) -> keras.Model:
    steps = keras.Input(shape)
    hidden = _layers.Dense(8)(steps)
    seen = _layers.MultiHeadAttention(2, 4)(hidden, hidden)
    hidden = _layers.LayerNormalization()(_layers.Add()([hidden, seen]))
    pooled = _layers.GlobalAveragePooling1D()(hidden)
    return keras.Model(steps, _layers.Dense(n_outputs, activation="softmax")(pooled))


def _given(build: Callable[..., keras.Model]) -> dict[str, Any]:
    return {"model": build, "epochs": 8}


_NO_NORM = r"the layer 'layer_normalization\w*' \(LayerNormalization\) cannot run in LiteRT"
_NO_GRU = "the int16x8 file disagrees with Keras"

# What the file is of -> how it is made.
CASES = {
    **{f"{name}, table": Case(name, table_rows) for name in TINY},
    "convolutions": Case("KerasClassifier", image_rows, _given(_convolutions)),
    "LSTM, both directions": Case("KerasClassifier", sequence_rows, _given(_recurrent)),
    "GRU, masked": Case("KerasClassifier", sequence_rows, _given(_masked), {"int16x8": _NO_GRU}),
    "attention": Case("KerasClassifier", sequence_rows, _given(_attention), {"int16x8": _NO_NORM}),
}


@functools.cache
def fitted(name: str) -> tuple[Any, Any]:
    """Fit a case, once in a process.

    Parameters
    ----------
    name : str
        A key of ``CASES``.

    Returns
    -------
    tuple of (estimator, X)
        Fitted, and on what.
    """
    case = CASES[name]
    X, y = case.rows()
    estimator = tiny(case.estimator, **case.parameters)
    if not hasattr(estimator, "predict_proba"):
        # Two targets of different ranges.
        signal = (y == y[0]) * 1.0
        y = np.column_stack([1e6 + 1e4 * signal, signal])
    return estimator.fit(X, y), X


def check_export(name: str, quantization: str | None, folder: Path) -> None:
    """Export a case, and check all that a file promises.

    Parameters
    ----------
    name : str
        A key of ``CASES``.
    quantization : str or None
        A key of ``QUANTIZERS``.
    folder : Path
        An empty one.

    Raises
    ------
    AssertionError
        If the file breaks the contract, or is not refused as its case says.
    """
    estimator, X = fitted(name)
    path, scratch = folder / "model.tflite", folder / "scratch"
    scratch.mkdir()
    refusal = CASES[name].refused.get(quantization)
    with mock.patch.object(tempfile, "tempdir", str(scratch)):
        try:
            report = export_tflite(
                estimator, path, quantization=quantization, representative_data=X
            )
        except ExportError as error:
            _check_refusal(error, refusal)
            report = None
    # TensorFlow keeps what it has compiled until the process ends.
    left = sorted(
        p.relative_to(folder).as_posix()
        for p in folder.rglob("*")
        if not p.name.startswith("__autograph_generated")
    )
    assert left == (["scratch"] if report is None else ["model.tflite", "scratch"]), left
    assert (report is None) == (refusal is not None), "a refusal that is no longer needed"
    if report is not None:
        _check_file(TFLiteModel(path), report, estimator, X, quantization)


def _check_refusal(error: ExportError, wanted: str | None) -> None:
    if wanted is None:
        raise error
    assert re.search(wanted, str(error)), str(error)
    assert "\n" not in str(error)


def _check_file(
    file: TFLiteModel, report: Any, estimator: Any, X: Any, quantization: str | None
) -> None:
    unknown = set(report.ops) - BUILTIN_OPERATORS
    assert not unknown, f"operators that are not built in: {unknown}"
    limits = TOLERANCES[quantization]
    got = file.predict(X)
    if hasattr(estimator, "classes_"):
        assert file.classes_.tolist() == estimator.classes_.tolist()
        assert file.metadata["classes"] == estimator.classes_.tolist()
        expected, outputs = estimator.predict_proba(X), file.predict_proba(X)
        errors = np.abs(outputs - expected).max(axis=1)
        agreement = float(np.mean(got == estimator.predict(X)))
        assert agreement == report.agreement, "the report tells of another agreement"
        assert agreement >= limits.agreement - 0.02
        np.testing.assert_allclose(outputs.sum(axis=1), 1.0, atol=0.02)
    else:
        expected, outputs = estimator.predict(X), got
        errors = (np.abs(outputs - expected) / np.ptp(expected, axis=0)).max(axis=1)
        assert report.agreement is None
    assert outputs.shape == expected.shape and np.isfinite(outputs).all()
    assert (errors <= limits.error).mean() >= limits.rows, "beyond the tolerance"
    assert (
        abs(np.abs(outputs - expected).max() - report.max_abs_error)
        <= 1e-3 * np.abs(expected).max()
    ), "the report tells of another error"
    one_row = X.iloc[:1] if hasattr(X, "iloc") else X[:1]
    assert file.predict(one_row).shape == got[:1].shape
    assert file.metadata["quantization"] == quantization
    assert file.metadata["name"] == type(estimator).__name__
    assert file.metadata["autokit"] == __version__
    assert report.size_bytes == file.path.stat().st_size
    assert report.n_rows == len(X) and report.rows_from == "representative_data"
