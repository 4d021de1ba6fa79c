"""Which way a model takes through the converter: in one piece or in parts, rolled or unrolled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.deploy import flatbuffer, proof
from autokit.deploy.convert import Arrays, Conversion, Part, convert_all, has_loops, trace
from autokit.deploy.isolation import TIMEOUT_S
from autokit.deploy.network import prepared
from autokit.deploy.proof import ExportError
from autokit.deploy.quantizers import QUANTIZERS
from autokit.deploy.rows import Rows
from autokit.deploy.subject import Subject


@dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes
    ----------
    quantization : str or None
        A key of ``QUANTIZERS``.
    timeout_s : float
        When to give up a conversion.
    """

    quantization: str | None = None
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        if self.quantization not in QUANTIZERS:
            known = ", ".join(repr(name) for name in QUANTIZERS)
            raise ValueError(f"quantization must be one of {known}; got {self.quantization!r}.")
        if not self.timeout_s > 0:
            raise ValueError(
                f"timeout_s must be a number of seconds above 0, got {self.timeout_s}."
            )


def graph_of(subject: Subject, rows: Rows, options: Options) -> bytes:
    """Convert what is exported, by the route that its layers and the quantisation need.

    Parameters
    ----------
    subject : Subject
        What is exported.
    rows : Rows
        To calibrate with.
    options : Options
        Quantisation and time limit.

    Returns
    -------
    bytes
        A .tflite file without metadata.

    Raises
    ------
    ExportError
        If the model cannot be converted.
    """
    route = _whole if options.quantization is None else _parts
    return flatbuffer.slim(route(subject, rows, options))


def _whole(subject: Subject, rows: Rows, options: Options) -> bytes:
    """Convert the graph in one piece: nothing is quantised, the converter may fuse it all."""
    part = subject.whole(prepared(subject.model))
    (concrete,) = _traced([part])
    return convert_all([Conversion(concrete, part.variables)], options.timeout_s)[0]


def _parts(subject: Subject, rows: Rows, options: Options) -> bytes:
    """Quantise the network alone, between an encoder and an output mapping in float32."""
    calibrated = options.quantization == "int8"
    network = prepared(subject.model)
    parts = subject.parts(network)
    traced = _traced(parts)
    if calibrated and any(map(has_loops, traced)):
        network = prepared(network, unroll=True)  # calibrating a loop crashes
        parts = subject.parts(network)
        traced = [trace(part) for part in parts]
    _check_prepared(subject, network, rows.for_proof())
    conversions = []
    for i, (part, concrete) in enumerate(zip(parts, traced, strict=True)):
        if part.is_network:
            data = _inputs_of(parts[:i], rows.tensors) if calibrated else None
            how = (options.quantization, data)
        else:
            how = ()
        conversions.append(Conversion(concrete, part.variables, *how))
    return flatbuffer.join(convert_all(conversions, options.timeout_s))


def _traced(parts: list[Part]) -> list[Any]:
    """Trace parts for any number of rows, or for one row if there is a loop: it fixes the batch."""
    traced = [trace(part) for part in parts]
    return [trace(part, 1) for part in parts] if any(map(has_loops, traced)) else traced


def _inputs_of(before: list[Part], tensors: Arrays) -> Arrays:
    """Run raw inputs through the parts before the network."""
    for part in before:
        outputs = part.call({name: tf.constant(value) for name, value in tensors.items()})
        tensors = {name: np.asarray(value) for name, value in outputs.items()}
    return tensors


def _check_prepared(subject: Subject, network: keras.Model, rows: Rows) -> None:
    """Compare the network that is converted with the user's, before quantisation blurs both."""
    tensors = {name: tf.constant(value) for name, value in rows.tensors.items()}
    got = {k: np.asarray(v) for k, v in subject.whole(network).call(tensors).items()}
    try:
        proof.compare(
            rows.expected(subject),
            got,
            quantization="float16",
            is_probability=None if subject.estimator is None else subject.is_classifier,
        )
    except proof.Disagreement as error:
        raise ExportError(
            "estimator_or_model: its model, rebuilt from its configuration for conversion, no "
            "longer answers as before; a layer of its own must give all it needs in get_config and "
            "its weights, or use quantization=None."
        ) from error
