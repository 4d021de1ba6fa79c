"""From a SavedModel to a .tflite file, at every precision. Runs in the worker process."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autokit._backend import tf

SIGNATURE = "serve"
SAVED_MODEL, ROWS, FILE = "saved_model", "rows.npz", "model.tflite"


class CannotRun(RuntimeError):
    """LiteRT does not run a converted file; `details` holds the operator and its place."""

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.details = details


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


def convert(folder: Path, quantization: str | None = None, integer_io: bool = False) -> None:
    """Convert ``folder/saved_model`` to ``folder/model.tflite``, and run it on one row.

    Parameters
    ----------
    folder : Path
        May also hold ``rows.npz``, inputs by name: the first is what the file is run on, all
        of them calibrate it where the quantisation needs that.
    quantization : str or None
        A key of ``QUANTIZERS``.
    integer_io : bool
        Whether inputs and outputs are int8 too.

    Raises
    ------
    CannotRun
        If LiteRT refuses the file.
    """
    how = QUANTIZERS[quantization]
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / SAVED_MODEL), signature_keys=[SIGNATURE]
    )
    converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, name) for name in how.operators]
    if how.is_optimized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if how.is_half:
        converter.target_spec.supported_types = [tf.float16]
    if how.is_calibrated:
        converter.representative_dataset = lambda: _singles(folder)
    if integer_io:
        converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / FILE).write_bytes(converter.convert())
    if how.weight_bits:
        (folder / FILE).write_bytes(_with_small_weights(folder / FILE, how.weight_bits))
    if (folder / ROWS).exists():
        _try(folder / FILE, next(_singles(folder)))


@dataclass(frozen=True)
class Quantizer:
    """How the converter is set.

    Attributes
    ----------
    is_optimized, is_half, is_calibrated : bool
        Whether it quantises, stores float16, needs the ranges of values.
    operators : tuple of str
        Sets of operators it may use.
    weight_bits : int or None
        Of the weights of dense, convolution and embedding layers, where the converter itself
        does not offer it.
    """

    is_optimized: bool = True
    is_half: bool = False
    is_calibrated: bool = False
    operators: tuple[str, ...] = ("TFLITE_BUILTINS",)
    weight_bits: int | None = None


QUANTIZERS = {
    None: Quantizer(is_optimized=False),
    "dynamic": Quantizer(),
    "float16": Quantizer(is_half=True),
    "int8": Quantizer(is_calibrated=True, operators=("TFLITE_BUILTINS_INT8",)),
    "int4": Quantizer(is_optimized=False, weight_bits=4),
    # An operator without a 16-bit kernel, such as ELU, stays in float32.
    "int16x8": Quantizer(
        is_calibrated=True,
        operators=(
            "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8",
            "TFLITE_BUILTINS",
        ),
    ),
}
JOBS = {"convert": convert}


def _with_small_weights(file: Path, bits: int) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer

    names = qtyping.TFLOperationName
    quantiser = quantizer.Quantizer(str(file))
    # What has no kernel for fewer bits, such as a depthwise convolution, gets 8.
    quantiser.add_dynamic_config(".*", names.ALL_SUPPORTED, 8)
    for name in (names.FULLY_CONNECTED, names.CONV_2D, names.EMBEDDING_LOOKUP):
        quantiser.add_dynamic_config(".*", name, bits)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        return bytes(quantiser.quantize().quantized_model)


def _try(file: Path, row: dict[str, np.ndarray]) -> None:
    """Run a file on one row; where it crashes LiteRT, this process ends instead of the user's."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(file), num_threads=1)
        runner = interpreter.get_signature_runner(SIGNATURE)
        details = runner.get_input_details()
        runner(**{name: _quantized(value, details[name]) for name, value in row.items()})
    except (RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise CannotRun(text, _place(interpreter, text)) from error


def _quantized(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    if details["dtype"] != np.int8 or not scale:
        return values
    return np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8)


def _place(interpreter: Any, text: str) -> dict[str, Any]:
    """Return the operator that a message of LiteRT speaks of, and where in the model it is."""
    found = re.search(r"Node number (\d+) \((\w+)\)", text)
    if found is None:
        return {}
    operators = {op["index"]: op for op in interpreter._get_ops_details()}
    operator = operators.get(int(found[1]), {"outputs": ()})
    names = [
        t["name"] for t in interpreter.get_tensor_details() if t["index"] in operator["outputs"]
    ]
    return {"operator": found[2], "paths": names}


def _singles(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    """Yield the rows one by one."""
    with np.load(folder / ROWS) as file:
        arrays = {k: v.astype(object) if v.dtype.kind == "S" else v for k, v in file.items()}
    for i in range(len(next(iter(arrays.values())))):
        yield {name: values[i : i + 1] for name, values in arrays.items()}
