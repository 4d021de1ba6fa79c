"""Which way a model takes through the converter: in one piece or in parts, rolled or unrolled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.deploy import faults, flatbuffer, proof
from autokit.deploy.convert import (
    Arrays,
    Conversion,
    Part,
    Unconvertible,
    convert_all,
    has_loops,
    needs_one_row,
    trace,
)
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
    integer_io : bool
        Whether inputs and outputs of the file are int8; only with "int8".
    """

    quantization: str | None = None
    timeout_s: float = TIMEOUT_S
    integer_io: bool = False

    def __post_init__(self) -> None:
        if self.quantization not in QUANTIZERS:
            known = ", ".join(repr(name) for name in QUANTIZERS)
            raise ValueError(f"quantization must be one of {known}; got {self.quantization!r}.")
        if self.integer_io and self.quantization != "int8":
            raise ValueError(
                f"integer_io needs quantization='int8', got {self.quantization!r}; leave one out."
            )
        if not self.timeout_s > 0:
            raise ValueError(
                f"timeout_s must be a number of seconds above 0, got {self.timeout_s}."
            )

    @property
    def is_calibrated(self) -> bool:
        """Whether activations are quantised, for which rows must tell their ranges."""
        return QUANTIZERS[self.quantization].is_calibrated


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
    is_whole = options.quantization is None or options.integer_io
    try:
        return flatbuffer.slim((_whole if is_whole else _parts)(subject, rows, options))
    except Unconvertible as error:
        raise faults.in_layer(error, subject.model) from error


def _whole(subject: Subject, rows: Rows, options: Options) -> bytes:
    """Convert the graph in one piece, encoder and output mapping at the network's precision."""
    if options.integer_io:
        _check_numbers(subject)
    network = prepared(subject.model)
    part = subject.whole(network)
    (concrete,) = _traced([part])
    if options.is_calibrated and has_loops(concrete):
        network = prepared(network, unroll=True)  # calibrating a loop crashes
        part = subject.whole(network)
        concrete = trace(part)
    if options.is_calibrated:
        _check_prepared(subject, network, rows.for_proof())
    tried = rows.tensors if options.is_calibrated else _first(rows.tensors)
    how = (options.quantization, tried, options.integer_io)
    return convert_all([Conversion(concrete, part.variables, *how)], options.timeout_s)[0]


def _parts(subject: Subject, rows: Rows, options: Options) -> bytes:
    """Quantise the network alone, between an encoder and an output mapping in float32."""
    network = prepared(subject.model)
    keeps_lookups = options.is_calibrated and _are_lookups_float(network, options)
    parts = subject.parts(network, keeps_lookups=keeps_lookups)
    traced = _traced(parts)
    if options.is_calibrated and any(map(has_loops, traced)):
        network = prepared(network, unroll=True)
        parts = subject.parts(network, keeps_lookups=keeps_lookups)
        traced = [trace(part) for part in parts]
    _check_prepared(subject, network, rows.for_proof())
    inputs = rows.tensors if options.is_calibrated else _first(rows.tensors)
    conversions = []
    for part, concrete in zip(parts, traced, strict=True):
        how = options.quantization if part.is_network else None
        conversions.append(Conversion(concrete, part.variables, how, inputs))
        inputs = _outputs(part, inputs)
    return flatbuffer.join(convert_all(conversions, options.timeout_s))


def _are_lookups_float(network: keras.Model, options: Options) -> bool:
    # There is no calibrated 16-bit form of them, and XNNPACK does not take masks from int8 ones.
    is_masked = any(getattr(layer, "mask_zero", False) for layer in faults.layers_of(network))
    return is_masked or options.quantization == "int16x8"


def _first(tensors: Arrays) -> Arrays:
    return {name: values[:1] for name, values in tensors.items()}


def _outputs(part: Part, tensors: Arrays) -> Arrays:
    outputs = part.call({name: tf.constant(value) for name, value in tensors.items()})
    return {name: np.asarray(value) for name, value in outputs.items()}


def _check_numbers(subject: Subject) -> None:
    for name, (_, dtype) in subject.specs.items():
        if not dtype.startswith("float"):
            raise ExportError(
                f"integer_io: the input {name!r} is of {dtype}, which no scale turns into int8; "
                "leave integer_io out."
            )


def _traced(parts: list[Part]) -> list[Any]:
    """Trace parts for any number of rows, or for one row if one of them needs that."""
    traced = [trace(part) for part in parts]
    return [trace(part, 1) for part in parts] if any(map(needs_one_row, traced)) else traced


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
