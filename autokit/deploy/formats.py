"""Fitted estimators as SavedModel, .keras and ONNX: run and compared before they are left.

Raw rows go in and answers come out, as with :func:`~autokit.deploy.export_tflite`, so far as the
format allows: a SavedModel takes everything; a .keras file is built of Keras' own layers, which
neither read texts nor fill in missing values; ONNX takes numbers only, see :func:`export_onnx`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.deploy import proof
from autokit.deploy.convert import Arrays, function_of, trace
from autokit.deploy.files import checked_path, written
from autokit.deploy.network import is_half_precision, one_line
from autokit.deploy.proof import ExportError
from autokit.deploy.quiet import quiet
from autokit.deploy.rows import Rows, gather
from autokit.deploy.subject import OUTPUT, Subject, subject_of

_ONNX_OPSET = 17
_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class FormatReport:
    """What was written, and how it was found to answer.

    Attributes
    ----------
    path : Path
        The file, or the folder of a SavedModel.
    size_bytes : int
        Of all its files.
    max_abs_error : float
        Largest difference from the estimator's answers.
    agreement : float or None
        Share of rows with the same most probable class; None if outputs are no probabilities.
    n_rows : int
        Rows that were compared.
    rows_from : str
        Where they came from, see :class:`~autokit.deploy.ExportReport`.
    """

    path: Path
    size_bytes: int
    max_abs_error: float
    agreement: float | None
    n_rows: int
    rows_from: str


def export_saved_model(
    estimator_or_model: Any,
    path: str | Path,
    *,
    representative_data: Any = None,
    overwrite: bool = False,
    tolerance: float | None = None,
) -> FormatReport:
    """Write a SavedModel with the signature ``serving_default``, for TensorFlow and its server.

    Inputs are those of a .tflite file: ``rows``, or ``numeric`` and ``categorical`` (texts);
    output ``output``.

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        A fitted estimator of this package, or a built Keras model.
    path : str or Path
        The folder to write.
    representative_data : array-like or DataFrame, default=None
        Rows to compare on, as ``fit`` takes them. By default the training rows that the
        estimator keeps, or synthetic ones.
    overwrite : bool, default=False
        Whether an existing SavedModel is replaced. No other folder ever is.
    tolerance : float, default=None
        Largest difference, by default 1e-4: of probabilities in absolute terms, of other
        outputs as a share of their range.

    Returns
    -------
    FormatReport
        Size, error and agreement.

    Raises
    ------
    ExportError
        If the model cannot be saved, or what was saved disagrees; nothing is left behind.
    FileExistsError
        If `path` exists, and `overwrite` is False or it is no SavedModel.
    OSError
        If it cannot be written.
    """
    path = _checked_folder(Path(path), overwrite)
    subject, rows = _gathered(estimator_or_model, representative_data)
    part = subject.whole(subject.model)
    module = tf.Module()
    module.variables_, module.serve = part.variables, trace(part)
    beside = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with quiet(), _failures("saved"):
            tf.saved_model.save(module, str(beside), signatures={_SIGNATURE: module.serve})
            serve = tf.saved_model.load(str(beside)).signatures[_SIGNATURE]

        def run(tensors: Arrays) -> Arrays:
            given = {name: tf.constant(values) for name, values in tensors.items()}
            return {name: np.asarray(values) for name, values in serve(**given).items()}

        compared = _proved(run, subject, rows, tolerance)
        size = sum(file.stat().st_size for file in beside.rglob("*") if file.is_file())
        if path.exists():
            shutil.rmtree(path)
        os.replace(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return _report(path, size, compared, rows)


def export_keras(
    estimator_or_model: Any,
    path: str | Path,
    *,
    representative_data: Any = None,
    overwrite: bool = False,
    tolerance: float | None = None,
) -> FormatReport:
    """Write a .keras file that ``keras.models.load_model`` opens without this package.

    Scaling is a Normalization layer, the mapping of outputs is Keras' own layers too: numbers in,
    probabilities or values in the target's units out. Layers of this package or of your own in
    the network need their package to load.

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        A fitted estimator of images, sequences or all-numeric tables, or a built Keras model.
    path : str or Path
        The file to write; its name ends in ".keras".
    representative_data, overwrite, tolerance
        As for :func:`export_saved_model`. Missing numbers are not filled in by such a file.

    Returns
    -------
    FormatReport
        Size, error and agreement.

    Raises
    ------
    ExportError
        If the rows hold texts or had missing values in training, the model cannot be loaded
        again, or it disagrees; no file is left behind.
    ValueError
        If `path` does not end in ".keras".
    FileExistsError
        If the file exists and `overwrite` is False.
    OSError
        If it cannot be written.
    """
    if Path(path).suffix != ".keras":
        raise ValueError(f"path must end in .keras for Keras to open it, got {path}.")
    path = checked_path(path, overwrite)
    subject, rows = _gathered(estimator_or_model, representative_data)
    model = _with_raw_rows(subject)
    with tempfile.TemporaryDirectory(prefix="autokit-") as folder:
        file = Path(folder) / "model.keras"
        with quiet(), _failures("saved and loaded"):
            model.save(file)
            loaded = keras.models.load_model(file)

        def run(tensors: Arrays) -> Arrays:
            values = [tensors[name] for name in subject.specs]
            outputs = loaded(values if len(values) > 1 else values[0], training=False)
            listed = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
            return dict(zip(subject.output_names, map(np.asarray, listed), strict=True))

        compared = _proved(run, subject, rows, tolerance)
        data = file.read_bytes()
    with written(path, data):
        pass
    return _report(path, len(data), compared, rows)


def export_onnx(
    estimator_or_model: Any,
    path: str | Path,
    *,
    representative_data: Any = None,
    overwrite: bool = False,
    tolerance: float | None = None,
) -> FormatReport:
    """Write an ONNX file (opset 17) with tf2onnx, and compare it in ONNX Runtime.

    Needs the extra ``onnx``: ``pip install "autokit[onnx]"``.

    Parameters
    ----------
    estimator_or_model : estimator or keras.Model
        A fitted estimator whose rows hold no texts, or a built Keras model.
    path : str or Path
        The file to write.
    representative_data, overwrite, tolerance
        As for :func:`export_saved_model`.

    Returns
    -------
    FormatReport
        Size, error and agreement.

    Raises
    ------
    ExportError
        If rows hold texts (tf2onnx turns their comparison into one of integers, on which ONNX
        Runtime fails), the model cannot be converted, or the file disagrees; no file is left
        behind.
    ImportError
        If the extra is not installed.
    FileExistsError
        If the file exists and `overwrite` is False.
    OSError
        If it cannot be written.
    """
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise ImportError(
            f"export_onnx needs tf2onnx, onnx and onnxruntime ({error}); install them with pip "
            'install "autokit[onnx]".'
        ) from error
    path = checked_path(path, overwrite)
    subject, rows = _gathered(estimator_or_model, representative_data)
    texts = [name for name, (_, dtype) in subject.specs.items() if dtype == "string"]
    if texts:
        raise ExportError(
            f"estimator_or_model takes texts ({', '.join(texts)}), which ONNX Runtime cannot "
            "compare in a graph from TensorFlow; encode them beforehand, or use "
            "export_saved_model."
        )
    part = subject.whole(subject.model)
    function = function_of(part)
    with quiet(), _failures("converted to ONNX"):
        proto, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=_ONNX_OPSET
        )
        data = proto.SerializeToString()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(tensors: Arrays) -> Arrays:
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, tensors), strict=True))

    compared = _proved(run, subject, rows, tolerance)
    with written(path, data):
        pass
    return _report(path, len(data), compared, rows)


@contextlib.contextmanager
def _failures(what: str) -> Iterator[None]:
    """Errors of other packages as one line."""
    try:
        yield
    except (OSError, ExportError):
        raise
    except Exception as error:
        raise ExportError(
            f"estimator_or_model: its model cannot be {what}: {one_line(error)}; replace the layer "
            "at fault, or register your own with keras.saving.register_keras_serializable."
        ) from error


def _gathered(estimator_or_model: Any, representative_data: Any) -> tuple[Subject, Rows]:
    subject = subject_of(estimator_or_model)
    rows = gather(subject, representative_data, None).for_proof()
    return subject, rows


def _proved(
    run: Callable[[Arrays], Arrays], subject: Subject, rows: Rows, tolerance: float | None
) -> proof.Comparison:
    with _failures("run in its new format"):
        got = run(rows.tensors)
    return proof.compare(
        rows.expected(subject),
        got,
        quantization="float16" if is_half_precision(subject.model) else None,
        tolerance=tolerance,
        is_probability=None if subject.estimator is None else subject.is_classifier,
    )


def _report(path: Path, size: int, compared: proof.Comparison, rows: Rows) -> FormatReport:
    return FormatReport(
        path, size, compared.max_abs_error, compared.agreement, len(rows), rows.source
    )


def _checked_folder(path: Path, overwrite: bool) -> Path:
    if path.is_file():
        raise FileExistsError(f"path: {path} is a file, and a SavedModel a folder; name another.")
    if not path.is_dir():
        return checked_path(path, overwrite=False)
    if not overwrite:
        raise FileExistsError(
            f"path: {path} exists; pass overwrite=True to replace it, or choose another name."
        )
    if any(path.iterdir()) and not (path / "saved_model.pb").exists():
        raise FileExistsError(f"path: {path} is a folder but no SavedModel; name another.")
    return path


def _with_raw_rows(subject: Subject) -> keras.Model:
    """Wrap a network in Keras' own layers, from raw rows to answers."""
    if subject.estimator is None:
        inputs, outputs = subject.model.inputs, subject.model.outputs
        return keras.Model(
            inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0]
        )
    estimator, rows = subject.estimator, subject.estimator.encoder_.describe()
    refused = [
        f"column {i if column['name'] is None else column['name']!r}"
        for i, column in enumerate(rows.get("columns", ()))
        if column["kind"] == "categorical" or column["indicator"]
    ]
    if refused:
        raise ExportError(
            f"estimator_or_model: {', '.join(refused[:8])} of its rows holds texts or had missing "
            "values, which Keras' own layers do not read; use export_saved_model, or encode them "
            "beforehand."
        )
    ((_, (shape, dtype)),) = subject.specs.items()
    tensor = inputs = keras.Input(shape, dtype=dtype, name="rows")
    if rows["standardize"]:
        mean, scale = np.float64(estimator.encoder_.mean_), np.float64(estimator.encoder_.scale_)
        axis = None if mean.size == 1 else -1
        parameters = (mean[0], scale[0] ** 2) if axis is None else (mean, scale**2)
        tensor = keras.layers.Normalization(axis, *parameters, dtype="float32")(tensor)
    outputs = subject.model(tensor)
    activation = getattr(estimator, "output_activation_", None)
    if activation is not None:
        outputs = keras.layers.Activation(activation, dtype="float32")(outputs)
    if subject.is_classifier and outputs.shape[-1] == 1:
        outputs = keras.layers.Concatenate()([1.0 - outputs, outputs])
    target = getattr(estimator, "target_", None)
    if not subject.is_classifier and target.standardize:
        scale, offset = target.scale_.tolist(), target.mean_.tolist()
        outputs = keras.layers.Rescaling(scale, offset, dtype="float32")(outputs)
    return keras.Model(inputs, outputs, name=OUTPUT)
