"""All quantisations of one model side by side: how small, how fast, how right."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autokit.deploy.export import export_tflite
from autokit.deploy.quantizers import QUANTIZERS
from autokit.deploy.runtime import TFLiteModel
from autokit.deploy.score import score_of
from autokit.deploy.subject import subject_of

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportRow:
    """One quantisation's line in a comparison.

    Attributes
    ----------
    quantization : str
        A key of ``QUANTIZERS``; "none" for float32.
    size_bytes, zipped_bytes : int or None
        Of the file, and of the file in a zip archive, as app stores ship it.
    latency_ms : float or None
        Median of one row on one thread of this machine.
    score : float or None
        Accuracy, or R2, of the file on the given rows.
    agreement : float or None
        Share of the given rows that get the same class as from Keras; None for numbers.
    max_abs_error : float or None
        Largest difference from Keras' outputs on the rows of the proof.
    failure : str or None
        Why there is no file. All figures are None then.
    """

    quantization: str
    size_bytes: int | None = None
    zipped_bytes: int | None = None
    latency_ms: float | None = None
    score: float | None = None
    agreement: float | None = None
    max_abs_error: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class ExportComparison:
    """What :func:`compare_exports` measured.

    Attributes
    ----------
    rows : tuple of ExportRow
        One for each quantisation, in the order asked for.
    score_name : {"accuracy", "r2"}
        What ``score`` is.
    keras_score : float
        The same of the model itself.
    n_rows : int
        Rows that were scored.
    """

    rows: tuple[ExportRow, ...]
    score_name: str
    keras_score: float
    n_rows: int

    def to_frame(self) -> pd.DataFrame:
        """Return the table: indexed by quantisation, NaN where there is no figure."""
        import pandas as pd

        frame = pd.DataFrame([asdict(row) for row in self.rows]).set_index("quantization")
        numbers = [name for name in frame.columns if name != "failure"]
        frame[numbers] = frame[numbers].astype(float)
        return frame.rename(columns={"score": self.score_name})

    def plot(self, path: str | Path | None = None) -> matplotlib.figure.Figure:
        """Plot score against size, and latency: two panels, a colour for each quantisation.

        Parameters
        ----------
        path : str or Path, default=None
            A file to save the plot to, such as "exports.png".

        Returns
        -------
        matplotlib.figure.Figure
            The plot.
        """
        from autokit.deploy.compare_plot import figure_of

        figure = figure_of(self)
        if path is not None:
            figure.savefig(path)
        return figure


def compare_exports(
    estimator_or_model: Any,
    X: Any,
    y: Any,
    *,
    representative_data: Any = None,
    quantizations: Sequence[str | None] | None = None,
    progress: Progress | None = None,
) -> ExportComparison:
    """Export in every quantisation, and measure each file.

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        A fitted estimator of this package, or a built Keras model of one output.
    X : array-like or DataFrame of shape (n_samples, ...)
        Rows to score the files on, best held out from training.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Their targets. For a plain model whose outputs are probabilities, integer classes.
    representative_data : array-like or DataFrame, default=None
        Rows to calibrate with, as for :func:`export_tflite`. By default the training rows that
        the estimator keeps, or else X.
    quantizations : sequence of {str, None}, default=None
        Which to try; by default all there are.
    progress : callable, default=None
        Called with the name of each quantisation before it is tried.

    Returns
    -------
    ExportComparison
        A row for each; one that cannot be exported has the reason in ``failure``.

    Raises
    ------
    ValueError
        If X or y do not fit the model, or a quantisation is unknown.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from autokit.deploy import compare_exports
    >>> table = compare_exports(classifier, X_test, y_test)  # doctest: +SKIP
    >>> table.to_frame()[["size_bytes", "accuracy"]]  # doctest: +SKIP
    >>> table.plot("exports.png")  # doctest: +SKIP
    """
    chosen = tuple(QUANTIZERS if quantizations is None else quantizations)
    unknown = [q for q in chosen if q not in QUANTIZERS]
    if unknown or not chosen:
        known = ", ".join(map(repr, QUANTIZERS))
        raise ValueError(f"quantizations must be some of {known}; got {list(quantizations)!r}.")
    subject = subject_of(estimator_or_model)
    if len(subject.output_names) > 1:
        raise ValueError(
            "estimator_or_model has several outputs, and y is one; compare keras.Model(inputs, "
            "output) of one of them."
        )
    (expected,) = subject.expected(X).values()
    score_name, keras_score, n_rows = score_of(subject, expected, y)
    if representative_data is None:
        representative_data = getattr(subject.estimator, "sample_rows_", X)
    rows = []
    with tempfile.TemporaryDirectory(prefix="autokit-") as folder:
        for quantization in chosen:
            name = quantization or "none"
            if progress is not None:
                progress(name)
            path = Path(folder) / f"{name}.tflite"
            try:
                report = export_tflite(
                    estimator_or_model,
                    path,
                    quantization=quantization,
                    representative_data=representative_data,
                )
                file = TFLiteModel(path)
                (got,) = file.run(file.tensors(X)).values()
            except ValueError as error:
                rows.append(ExportRow(name, failure=str(error)))
                continue
            agreement = None
            if score_name == "accuracy":
                agreement = float(np.mean(got.argmax(axis=1) == expected.argmax(axis=1)))
            rows.append(
                ExportRow(
                    quantization=name,
                    size_bytes=report.size_bytes,
                    zipped_bytes=zipped_bytes(path.read_bytes()),
                    latency_ms=report.latency_ms.median,
                    score=score_of(subject, got, y).value,
                    agreement=agreement,
                    max_abs_error=report.max_abs_error,
                )
            )
    return ExportComparison(tuple(rows), score_name, keras_score, n_rows)


def zipped_bytes(data: bytes) -> int:
    """Return the size that `data` takes in a zip archive, at the highest level of deflate."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr("model.tflite", data)
            return archive.infolist()[0].compress_size
