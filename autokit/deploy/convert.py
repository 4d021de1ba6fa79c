"""Graphs of TensorFlow operations as .tflite files of built-in operators."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autokit._backend import tf
from autokit.deploy.isolation import TIMEOUT_S, Crashed, Job, JobFailed, TimedOut
from autokit.deploy.network import one_line
from autokit.deploy.proof import ExportError
from autokit.deploy.quantizers import FILE, ROWS, SAVED_MODEL, SIGNATURE
from autokit.deploy.quiet import quiet

_LOOPS = {"While", "StatelessWhile"}
_LOOKUPS = {"LookupTableFindV2"}

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
        What it reads, lookup tables too. A graph whose variables nobody holds is converted
        without its weights, to a file that answers NaN, and no error is raised.
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
    rows : dict of str to ndarray or None
        Inputs. The file is run on the first; all of them calibrate where that is needed.
    integer_io : bool
        Whether inputs and outputs are int8 too.
    """

    concrete: Any
    variables: list[tf.Variable]
    quantization: str | None = None
    rows: Arrays | None = None
    integer_io: bool = False


class Unconvertible(ExportError):
    """A graph that the converter or LiteRT does not take.

    Attributes
    ----------
    problem, cure : str
        Of the message.
    paths : tuple of str
        Where the problem is, as names of the graph's nodes.
    """

    def __init__(self, problem: str, cure: str, paths: Iterable[str] = ()) -> None:
        super().__init__(f"estimator_or_model: the model {problem}; {cure}.")
        self.problem, self.cure, self.paths = problem, cure, tuple(paths)


def convert(
    concrete: Any,
    variables: list[tf.Variable],
    quantization: str | None = None,
    *,
    rows: Arrays | None = None,
    timeout_s: float = TIMEOUT_S,
) -> bytes:
    """Convert one traced graph, see :class:`Conversion` and :func:`convert_all`."""
    return convert_all([Conversion(concrete, variables, quantization, rows)], timeout_s)[0]


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
    Unconvertible
        If a graph needs an operator that is not built in, the converter fails, crashes or does
        not end, or LiteRT does not run what it makes.
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
                "integer_io": conversion.integer_io,
            }
            try:
                job = stack.enter_context(Job(request, timeout_s))
            except Crashed as error:
                raise ExportError(f"the converter cannot be run: {error}.") from error
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
        if conversion.rows is not None:
            np.savez(folder / ROWS, **{k: _saved(v) for k, v in conversion.rows.items()})
    except AssertionError as error:  # TensorFlow's word for a resource that nobody holds
        raise Unconvertible(
            "reads a table or a variable that no layer of Keras holds",
            "keep it as a weight made by add_weight",
        ) from error
    except (OSError, tf.errors.OpError) as error:
        raise OSError(
            f"the temporary folder {folder.parent} cannot be written ({one_line(error)}); free "
            "some space, or name another in the environment variable TMPDIR."
        ) from error


def _saved(values: np.ndarray) -> np.ndarray:
    # Arrays of objects would be pickled.
    return np.char.encode(values.astype(str)) if values.dtype == object else values


def _finished(job: Job, file: Path, conversion: Conversion) -> bytes:
    try:
        job.wait()
        return file.read_bytes()
    except TimedOut as error:
        cure = "raise timeout_s=, or make the model smaller"
        raise Unconvertible(f"is not converted in time: {error}", cure) from error
    except Crashed as error:
        problem = f"crashed TensorFlow's converter ({error})"
        raise Unconvertible(problem, _cure(conversion), _loops(conversion.concrete)) from error
    except JobFailed as error:
        raise _failure(error, conversion) from error


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
    try:
        return function_of(part, batch).get_concrete_function()
    except Exception as error:
        raise ExportError(
            f"estimator_or_model: its model cannot be traced as a graph: {one_line(error)}"
        ) from error


def function_of(part: Part, batch: int | None = None) -> Any:
    """A part as a ``tf.function`` of its tensors in order, not yet traced.

    Parameters
    ----------
    part, batch
        As for :func:`trace`.

    Returns
    -------
    tf.types.experimental.PolymorphicFunction
        With an input signature.
    """
    signature = [
        tf.TensorSpec((batch, *shape), dtype, name=name)
        for name, (shape, dtype) in part.specs.items()
    ]

    @tf.function(autograph=False, input_signature=signature)
    def serve(*tensors):
        return part.call(dict(zip(part.specs, tensors, strict=True)))

    return serve


def has_loops(concrete: Any) -> bool:
    """Whether a traced graph holds a loop, as recurrent layers do unless unrolled."""
    return bool(_loops(concrete))


def needs_one_row(concrete: Any) -> bool:
    """Whether LiteRT runs a graph for a fixed number of rows only: loops and lookups of texts."""
    return any(kind in _LOOPS | _LOOKUPS for _, kind in nodes(concrete))


def nodes(concrete: Any) -> Iterator[tuple[str, str]]:
    """Yield name and type of each operation of a graph and of its functions."""
    graph = concrete.graph.as_graph_def()
    for some in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in some:
            yield node.name, node.op


def _loops(concrete: Any) -> list[str]:
    return [name for name, kind in nodes(concrete) if kind in _LOOPS]


def _failure(error: JobFailed, conversion: Conversion) -> Unconvertible:
    if "operator" in error.details:
        reason = re.sub(r"\.?\s*Node number .*", "", one_line(error))
        problem = f"cannot run in LiteRT as {_kind(conversion)} ({reason})"
        return Unconvertible(problem, _cure(conversion), error.details["paths"])
    text = str(error)
    listed = re.findall(r"TF (?:Select|Custom) ops: ([\w, ]+)", text)
    missing = {name.strip() for ops in listed for name in ops.split(",")}
    missing |= set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", text))
    missing |= set(re.findall(r"failed to legalize operation 'tfl?\.(\w+)'", text))
    if missing:
        paths = [name for name, kind in nodes(conversion.concrete) if kind in missing]
        problem = f"needs {', '.join(sorted(missing))}, which LiteRT has not built in"
        return Unconvertible(problem, "replace the layer that computes it", paths)
    return Unconvertible(
        f"fails in the converter as {_kind(conversion)}: {one_line(error)}", _cure(conversion)
    )


def _kind(conversion: Conversion) -> str:
    return conversion.quantization or "float32"


def _cure(conversion: Conversion) -> str:
    if conversion.quantization is None:
        return "replace the layer at fault"
    others = [f"'{q}'" for q in ("dynamic", "float16") if q != conversion.quantization]
    return f"use quantization={' or '.join(others)}, or another layer or activation"
