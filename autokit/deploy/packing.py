"""Reading and writing the flatbuffer of a .tflite file: aligned, and nothing in it twice."""

from __future__ import annotations

import copy
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from autokit.deploy.metadata import IDENTIFIER


class _Buffer(schema.BufferT):
    """A buffer whose data starts at a multiple of 16 bytes.

    The schema demands it (``force_align: 16``), the generated Python packer ignores it, and
    kernels on some ARM cores fault on unaligned weights.
    """

    def Pack(self, builder):  # noqa: N802 (the generated name)
        vector = None
        if self.data is not None:
            data = np.asarray(self.data, np.uint8)
            builder.StartVector(1, data.size, 16)
            builder.head -= data.size
            builder.Bytes[builder.head : builder.head + data.size] = data.tobytes()
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


class _SharingBuilder(flatbuffers.Builder):
    """A builder that writes each distinct vector once.

    A per-channel quantised layer carries 12 bytes a channel of scales and (all zero) offsets
    for its weights and again for its bias, and every tensor its shape twice. Flatbuffers may
    point to one vector from many tables.
    """

    def __init__(self, initial_size: int) -> None:
        super().__init__(initial_size)
        self.tables: dict[tuple, int] = {}
        self._vectors: dict[tuple, int] = {}

    def CreateNumpyVector(self, x):  # noqa: N802 (the generated name)
        key = (x.dtype.str, x.tobytes())
        if key not in self._vectors:
            self._vectors[key] = super().CreateNumpyVector(x)
        return self._vectors[key]


class _Once:
    """A table that is written once, however often an equal one occurs.

    The steps of an unrolled recurrence have the same options and, many of them, the same scales.
    """

    def __init__(self, table: Any) -> None:
        self._table = table

    @classmethod
    def of(cls, table: Any) -> _Once | None:
        return table if table is None or isinstance(table, cls) else cls(table)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def Pack(self, builder: _SharingBuilder) -> int:  # noqa: N802 (the generated name)
        key = (type(self._table), *((k, _hashable(v)) for k, v in vars(self._table).items()))
        if key not in builder.tables:
            builder.tables[key] = self._table.Pack(builder)
        return builder.tables[key]


def parse(data: bytes) -> schema.ModelT:
    """Read the bytes of a .tflite file into the schema's object tree."""
    return schema.ModelT.InitFromPackedBuf(data, 0)


def serialize(model: schema.ModelT) -> bytes:
    """Write the object tree as the bytes of a .tflite file."""
    model.buffers = [_aligned(buffer) for buffer in model.buffers]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.quantization = _Once.of(tensor.quantization)
        for operator in graph.operators or []:
            operator.builtinOptions = _Once.of(operator.builtinOptions)
    builder = _SharingBuilder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _aligned(buffer: schema.BufferT) -> _Buffer:
    aligned = _Buffer()
    aligned.data = copy.copy(buffer.data)
    return aligned


def _hashable(value: Any) -> Any:
    return (value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)
