"""Graphs of TensorFlow operations as .tflite files of built-in operators."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autokit._backend import tf
from autokit.deploy.isolation import TIMEOUT_S, Crashed, Job
from autokit.deploy.network import one_line
from autokit.deploy.proof import ExportError
from autokit.deploy.quantizers import CALIBRATION, FILE, SAVED_MODEL, SIGNATURE
from autokit.deploy.quiet import quiet

_LOOPS = {"While", "StatelessWhile"}

Tensors = dict[str, tf.Tensor]
Arrays = dict[str, np.ndarray]
Specs = dict[str, tuple[tuple[int | None, ...], str]]


@dataclass(frozen=True)
class Part:
    """A stretch of the exported graph, converted at one precision.

    Attributes
    ----------
    call : callable
        From tensors to tensors, by name.
    specs : dict of str to (shape without batch, dtype)
        What it takes.
    variables : list of tf.Variable
        What it reads. A graph whose variables nobody holds is converted without its weights,
        to a file that answers NaN, and no error is raised.
    is_network : bool
        Whether quantisation applies to it.
    """

    call: Callable[[Tensors], Tensors]
    specs: Specs
    variables: list[tf.Variable]
    is_network: bool = False


@dataclass(frozen=True)
class Conversion:
    """A traced graph, and how to convert it.

    Attributes
    ----------
    concrete : tf.types.experimental.ConcreteFunction
        From :func:`trace`.
    variables : list of tf.Variable
        What it reads.
    quantization : str or None
        A key of ``QUANTIZERS``.
    calibration : dict of str to ndarray or None
        Inputs, for "int8".
    """

    concrete: Any
    variables: list[tf.Variable]
    quantization: str | None = None
    calibration: Arrays | None = None


def convert(
    concrete: Any,
    variables: list[tf.Variable],
    quantization: str | None = None,
    *,
    calibration: Arrays | None = None,
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    """Convert one traced graph, see :class:`Conversion` and :func:`convert_all`."""
    conversion = Conversion(concrete, variables, quantization, calibration)
    return convert_all([conversion], timeout_s)[0]


def convert_all(conversions: Sequence[Conversion], timeout_s: float = TIMEOUT_S) -> list[bytes]:
    """Convert traced graphs in processes of their own, side by side.

    Parameters
    ----------
    conversions : sequence of Conversion
        What to convert.
    timeout_s : float
        When to give up.

    Returns
    -------
    list of bytes
        .tflite files with the signature ``serve``.

    Raises
    ------
    ExportError
        If a graph needs an operator that is not built in, or the converter fails, crashes or
        does not end.
    OSError
        If the temporary folder is full.
    """
    with contextlib.ExitStack() as stack:
        jobs = []
        for conversion in conversions:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="autokit-"))
            _write_inputs(Path(folder), conversion)
            request = {
                "job": "convert",
                "folder": folder,
                "quantization": conversion.quantization,
            }
            try:
                job = stack.enter_context(Job(request, timeout_s))
            except Crashed as error:
                raise ExportError(f"the converter cannot be run: {error}") from error
            jobs.append((job, Path(folder) / FILE, conversion))
        return [_finished(*job) for job in jobs]


def _write_inputs(folder: Path, conversion: Conversion) -> None:
    module = tf.Module()
    module.variables_, module.serve = conversion.variables, conversion.concrete
    try:
        with quiet():
            tf.saved_model.save(
                module, str(folder / SAVED_MODEL), signatures={SIGNATURE: conversion.concrete}
            )
        if conversion.calibration is not None:
            arrays = {
                k: np.char.encode(v.astype(str)) if v.dtype == object else v
                for k, v in conversion.calibration.items()
            }
            np.savez(folder / CALIBRATION, **arrays)
    except (OSError, tf.errors.OpError) as error:
        raise OSError(
            f"the temporary folder {folder.parent} cannot be written ({one_line(error)}); free "
            "some space, or name another in the environment variable TMPDIR."
        ) from error


def _finished(job: Job, file: Path, conversion: Conversion) -> bytes:
    try:
        job.wait()
    except Crashed as error:
        what = "quantiser" if conversion.calibration is not None else "converter"
        raise ExportError(
            f"estimator_or_model: TensorFlow's {what} crashed on this model ({error}); use "
            "quantization='dynamic' or 'float16', or another activation or layer."
        ) from error
    except RuntimeError as error:
        raise ExportError(_conversion_failure(error)) from error
    return file.read_bytes()


def trace(part: Part, batch: int | None = None) -> Any:
    """Trace a part into a concrete function.

    Parameters
    ----------
    part : Part
        The graph.
    batch : int, default=None
        Rows the file will take at once; None for any number.

    Returns
    -------
    tf.types.experimental.ConcreteFunction
        For :func:`convert`.

    Raises
    ------
    ExportError
        If the model's own code fails.
    """
    signature = [
        tf.TensorSpec((batch, *shape), dtype, name=name)
        for name, (shape, dtype) in part.specs.items()
    ]

    @tf.function(autograph=False, input_signature=signature)
    def serve(*tensors):
        return part.call(dict(zip(part.specs, tensors, strict=True)))

    try:
        return serve.get_concrete_function()
    except Exception as error:
        raise ExportError(
            f"estimator_or_model: its model cannot be traced as a graph: {one_line(error)}"
        ) from error


def has_loops(concrete: Any) -> bool:
    """Whether a traced graph holds a loop, as recurrent layers do unless unrolled."""
    graph = concrete.graph.as_graph_def()
    nodes = [graph.node, *(function.node_def for function in graph.library.function)]
    return any(node.op in _LOOPS for some in nodes for node in some)


def _conversion_failure(error: Exception) -> str:
    text = str(error)
    listed = re.findall(r"TF (?:Select|Custom) ops: ([\w, ]+)", text)
    failed = re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", text)
    failed += re.findall(r"failed to legalize operation 'tfl?\.(\w+)'", text)
    names = sorted({name.strip() for ops in listed for name in ops.split(",")} | set(failed))
    if names:
        return (
            f"estimator_or_model: the model needs {', '.join(names)}, which LiteRT has not built "
            "in; replace the layer that computes it."
        )
    return f"estimator_or_model: the converter failed: {one_line(error)}"
