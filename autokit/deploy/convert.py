"""Graphs of TensorFlow operations as .tflite files of built-in operators."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit._backend import tf
from autokit.deploy.isolation import Crashed, in_child
from autokit.deploy.network import one_line
from autokit.deploy.proof import ExportError
from autokit.deploy.quiet import quiet

SIGNATURE = "serve"
_LOOPS = {"While", "StatelessWhile"}

Tensors = dict[str, tf.Tensor]
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


def convert(
    concrete: Any,
    variables: list[tf.Variable],
    quantization: str | None = None,
    *,
    calibration: Iterable[dict[str, np.ndarray]] = (),
) -> bytes:
    """Convert a traced graph.

    Parameters
    ----------
    concrete : tf.types.experimental.ConcreteFunction
        From :func:`trace`.
    variables : list of tf.Variable
        What it reads.
    quantization : {None, "dynamic", "float16", "int8"}
        A key of ``QUANTIZERS``.
    calibration : iterable of dict of str to ndarray
        Inputs of one row each, for "int8".

    Returns
    -------
    bytes
        A .tflite file with the signature ``serve``.

    Raises
    ------
    ExportError
        If the graph needs an operator that is not built in.
    """
    module = tf.Module()
    module.variables_, module.serve = variables, concrete
    with quiet(), tempfile.TemporaryDirectory(prefix="autokit-") as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: concrete})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        QUANTIZERS[quantization](converter, calibration)
        try:
            return converter.convert()
        except Crashed as error:
            raise ExportError(
                f"estimator_or_model: TensorFlow's quantiser crashed on this model ({error}); use "
                "quantization='dynamic' or 'float16', or another activation or layer."
            ) from error
        except Exception as error:
            raise ExportError(_conversion_failure(error)) from error


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


def _float32(converter: Any, calibration: Iterable) -> None:
    pass


def _float16(converter: Any, calibration: Iterable) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic(converter: Any, calibration: Iterable) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _int8(converter: Any, calibration: Iterable) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: iter(calibration)
    # Calibration and quantisation crash on some graphs (loops, SELU before a norm). They read
    # TFLite bytes alone, not TensorFlow's runtime, so a fork can do them.
    quantize = getattr(converter, "_quantize", None)
    if quantize is not None:
        converter._quantize = lambda *args, **kwargs: in_child(lambda: quantize(*args, **kwargs))


QUANTIZERS = {None: _float32, "dynamic": _dynamic, "float16": _float16, "int8": _int8}


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
