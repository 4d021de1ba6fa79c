"""The TFLITE_METADATA buffer, which tools for Android and iOS read.

It says that nothing is left to do before or after the file: the NormalizationOptions of every
float input are mean 0 and std 1, because the file takes raw values and normalises them itself.

References
----------
tensorflow/tflite-support, metadata_schema.fbs: slot numbers are the order of its fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers

_LABELS_NAME = "labels.txt"
_AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
_IMAGE = 2  # ContentProperties.ImageProperties
_COLORS = {3: 1, 1: 2}  # channels to ColorSpaceType: RGB, GRAYSCALE
_NORMALIZATION = 1  # ProcessUnitOptions.NormalizationOptions
_MOST_COLUMNS = 50


def packed(description: dict[str, Any], files: Sequence[str]) -> bytes:
    """Pack a ModelMetadata.

    Parameters
    ----------
    description : dict
        What ``autokit.json`` will hold.
    files : sequence of str
        Names of the associated files.

    Returns
    -------
    bytes
        A flatbuffer with the identifier M001.
    """
    builder = flatbuffers.Builder(512)
    serve = next(iter(description["signatures"].values()))
    labels = [_file(builder, name) for name in files if name == _LABELS_NAME]
    inputs = [_input(builder, tensor, description) for tensor in serve["inputs"]]
    outputs = [_output(builder, tensor, description, labels) for tensor in serve["outputs"]]
    graph = _table(builder, 9, {2: _vector(builder, inputs), 3: _vector(builder, outputs)})
    others = [_file(builder, name) for name in files if name != _LABELS_NAME]
    fields = {
        0: builder.CreateString(description.get("name", "autokit model")),
        1: builder.CreateString(_summary(description)),
        2: builder.CreateString(str(description.get("autokit", ""))),
        3: _vector(builder, [graph]),
        6: _vector(builder, others),
    }
    builder.Finish(_table(builder, 8, fields), file_identifier=b"M001")
    return bytes(builder.Output())


def _summary(description: dict[str, Any]) -> str:
    kind = description.get("quantization") or "float32"
    text = f"{description.get('task', 'model')}, {kind}"
    score = description.get("score")
    if score:
        text += f"; {score['name']} {score['value']:.4f} on {score['n_rows']} rows"
    return f"{text}; more in autokit.json"


def _input(builder: Any, tensor: dict[str, Any], description: dict[str, Any]) -> int:
    fields = {0: builder.CreateString(tensor["name"])}
    text = _of_input(tensor, description.get("rows"))
    if text:
        fields[1] = builder.CreateString(text)
    colors = _COLORS.get(tensor["shape"][-1]) if len(tensor["shape"]) == 4 else None
    if colors and (description.get("rows") or {}).get("kind") == "image":
        properties = _table(builder, 2, {}, {0: colors})
        fields[3] = _table(builder, 3, {1: properties}, {0: _IMAGE})
    if tensor["dtype"] == "float32" and description.get("rows"):
        raw = _table(builder, 2, {0: _floats(builder, [0.0]), 1: _floats(builder, [1.0])})
        unit = _table(builder, 2, {1: raw}, {0: _NORMALIZATION})
        fields[4] = _vector(builder, [unit])
    return _table(builder, 7, fields)


def _of_input(tensor: dict[str, Any], rows: dict[str, Any] | None) -> str:
    if not rows:
        return ""
    if "columns" not in rows:
        return "raw values as in training; the file normalises them itself"
    kind = tensor["name"] if tensor["name"] in ("numeric", "categorical") else None
    names = [
        str(i if column["name"] is None else column["name"])
        for i, column in enumerate(rows["columns"])
        if kind in (None, column["kind"])
    ]
    more = ", ..." if len(names) > _MOST_COLUMNS else ""
    listed = ", ".join(names[:_MOST_COLUMNS]) + more
    if kind == "categorical":
        return f"texts of the columns {listed}; empty where missing"
    return f"raw values of the columns {listed}; NaN where missing; normalised inside the file"


def _output(builder: Any, tensor: dict[str, Any], description: dict, labels: list[int]) -> int:
    units = {"classification": "probability of each label", "regression": "in the target's unit"}
    fields = {0: builder.CreateString(tensor["name"])}
    if description.get("task") in units:
        fields[1] = builder.CreateString(units[description["task"]])
    if labels:
        fields[6] = _vector(builder, labels)
    return _table(builder, 7, fields)


def _file(builder: Any, name: str) -> int:
    kind = _AXIS_LABELS if name == _LABELS_NAME else 0
    return _table(builder, 5, {0: builder.CreateString(name)}, {2: kind})


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return builder.EndVector()


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _table(builder: Any, n_slots: int, offsets: dict, int8s: dict | None = None) -> int:
    builder.StartObject(n_slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (int8s or {}).items():
        builder.PrependInt8Slot(slot, value, 0)
    return builder.EndObject()
