"""The layer in which a file and its model part."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from autokit._backend import keras
from autokit.deploy import faults
from autokit.deploy.litert import LoadedFile
from autokit.deploy.network import prepared
from autokit.deploy.proof import ExportError
from autokit.deploy.routes import Options, graph_of
from autokit.deploy.rows import Rows
from autokit.deploy.subject import Subject

_TIMEOUT_S = 60.0
_ROWS = "rows"


def blamed(error: ExportError, subject: Subject, rows: Rows, options: Options) -> ExportError:
    """Add the layer at fault to an error about a file that disagrees with its model.

    Parameters
    ----------
    error : ExportError
        From the proof.
    subject : Subject
        What was exported.
    rows : Rows
        On which.
    options : Options
        And how.

    Returns
    -------
    ExportError
        `error` itself if no layer can be named.
    """
    if options.integer_io:
        error = type(error)(
            f"{error} With integer_io all values of an input, and of an output, share one scale of "
            "256 steps, whatever their columns' ranges: leave integer_io out."
        )
    try:
        found = worst_layer(subject, rows, options)
    except Exception:
        return error  # it is true as it is
    if found is None:
        return error
    layer, share = found
    return type(error)(
        f"{error} Most of it arises in {faults.described(layer)}, whose output is off by "
        f"{share:.0%} of its range."
    )


def worst_layer(subject: Subject, rows: Rows, options: Options) -> tuple[keras.Layer, float] | None:
    """Convert the network with the outputs of all its layers, and compare these with Keras'.

    Parameters
    ----------
    subject : Subject
        What is exported.
    rows : Rows
        Raw inputs.
    options : Options
        As the file was converted.

    Returns
    -------
    tuple of (keras.Layer, float) or None
        The layer at which the error grows most, and the error of its output: the median over
        rows, as a share of the output's range. None if nothing differs.
    """
    network = prepared(subject.model)
    watched = [layer for layer in faults.layers_of(network) if _is_watched(layer, network)]
    if len(network.inputs) > 1 or not watched:
        return None
    encoded = rows.tensors
    if subject.estimator is not None:
        encoded = subject.parts(network)[0].call(rows.tensors)
    (values,) = encoded.values()
    (entry,) = network.inputs
    several = keras.Model(entry, [layer.output for layer in watched])
    names = tuple(f"layer_{i}" for i in range(len(watched)))
    specs = {_ROWS: (tuple(entry.shape[1:]), entry.dtype)}
    part = Subject(several, None, specs, names if len(names) > 1 else ("output",))
    inputs = Rows(None, {_ROWS: np.asarray(values)}, rows.source)
    how = replace(options, integer_io=False, timeout_s=min(options.timeout_s, _TIMEOUT_S))
    data = graph_of(part, inputs, how)
    with tempfile.TemporaryDirectory(prefix="autokit-") as folder:
        file = Path(folder) / "layers.tflite"
        file.write_bytes(data)
        got = LoadedFile(file).run(inputs.tensors)
    index = faults.first_to_part(part.expected_of(inputs.tensors), got)
    return None if index is None else (watched[index[0]], index[1])


def _is_watched(layer: keras.Layer, network: keras.Model) -> bool:
    if layer not in network.layers:
        return False
    try:
        output = layer.output
    except (AttributeError, ValueError):  # called twice, or never
        return False
    return hasattr(output, "dtype") and output.dtype.startswith("float")
