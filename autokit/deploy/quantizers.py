"""From a SavedModel to a .tflite file, at every precision. Runs in the worker process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autokit._backend import tf

SIGNATURE = "serve"
SAVED_MODEL, CALIBRATION, FILE = "saved_model", "calibration.npz", "model.tflite"


def run(job: str, folder: str, **options: Any) -> None:
    """Do one job.

    Parameters
    ----------
    job : {"convert"}
        A key of ``JOBS``.
    folder : str
        Where its inputs are, and where its outputs go.
    **options
        Of the job.
    """
    JOBS[job](Path(folder), **options)


def convert(folder: Path, quantization: str | None = None) -> None:
    """Convert ``folder/saved_model`` to ``folder/model.tflite``.

    Parameters
    ----------
    folder : Path
        Also holds ``calibration.npz`` for "int8": inputs by name, a row each.
    quantization : str or None
        A key of ``QUANTIZERS``.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / SAVED_MODEL), signature_keys=[SIGNATURE]
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    QUANTIZERS[quantization](converter, folder)
    (folder / FILE).write_bytes(converter.convert())


def _float32(converter: Any, folder: Path) -> None:
    pass


def _float16(converter: Any, folder: Path) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: Any, folder: Path) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: Any, folder: Path) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: _singles(folder)


QUANTIZERS = {None: _float32, "dynamic": _dynamic, "float16": _float16, "int8": _int8}
JOBS = {"convert": convert}


def _singles(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    """Yield the rows one by one."""
    with np.load(folder / CALIBRATION) as file:
        arrays = {k: v.astype(object) if v.dtype.kind == "S" else v for k, v in file.items()}
    for i in range(len(next(iter(arrays.values())))):
        yield {name: values[i : i + 1] for name, values in arrays.items()}
