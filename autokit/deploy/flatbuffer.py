"""What is done to a .tflite file after the converter: join parts, shed weight, list operators.

Quantising a whole graph would put table columns of range 1 and 1e5 on one scale of 256 steps.
So the encoder, the network and the output mapping are converted one by one, each at its own
precision, and joined here into one graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from autokit.deploy.packing import parse, serialize

_OPERATOR_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
}
_TYPE_NAMES = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)
}
BUILTIN_OPERATORS = frozenset(_OPERATOR_NAMES.values()) - {"CUSTOM", "DELEGATE"}
# The converter's own diary (its version, its options); nothing at run time reads it.
_DROPPED_METADATA = {b"CONVERSION_METADATA"}


def count_operators(data: bytes) -> dict[str, int]:
    """Count the operators of all subgraphs.

    Parameters
    ----------
    data : bytes
        A .tflite file.

    Returns
    -------
    dict of str to int
        By name, the most frequent first. A TensorFlow (Flex) operator carries its own name,
        "FlexErf".
    """
    model = parse(data)
    names = [_operator_name(code) for code in model.operatorCodes or []]
    counts = Counter(
        names[op.opcodeIndex] for graph in model.subgraphs for op in graph.operators or []
    )
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def join(parts: Sequence[bytes]) -> bytes:
    """Chain converted graphs: the outputs of each are the inputs of the next, by name.

    Parameters
    ----------
    parts : sequence of bytes
        .tflite files with one signature each. An input that carries the name of an output of
        the part before is that output; any other becomes an input of the whole.

    Returns
    -------
    bytes
        One file with the inputs of the first part and the outputs of the last.
    """
    whole, *rest = [parse(part) for part in parts]
    for part in rest:
        _append(whole, part)
    return serialize(whole)


def bundle(files: dict[str, bytes]) -> bytes:
    """Put graphs beside each other into one file, a signature for each.

    Parameters
    ----------
    files : dict of str to bytes
        .tflite files with one signature each, by the signature's name in the whole. What a
        runtime without signatures runs is the first.

    Returns
    -------
    bytes
        One file; :func:`slim` makes the graphs share equal weights.
    """
    whole: schema.ModelT | None = None
    for key, data in files.items():
        part = parse(data)
        part.signatureDefs[0].signatureKey = key
        if whole is None:
            whole = part
            continue
        _shift_indices(part, whole, len(whole.subgraphs))
        part.signatureDefs[0].subgraphIndex = len(whole.subgraphs)
        whole.signatureDefs = [*whole.signatureDefs, part.signatureDefs[0]]
        whole.operatorCodes = [*(whole.operatorCodes or []), *(part.operatorCodes or [])]
        whole.buffers = [*whole.buffers, *part.buffers]
        whole.subgraphs = [*whole.subgraphs, *part.subgraphs]
    return serialize(whole)


def slim(data: bytes) -> bytes:
    """Drop what no runtime reads: tensor names, the calibration's ranges, duplicates.

    In a small network these outweigh the int8 weights: each name is spelled twice or more
    ("functional_1/conv2d_1/convolution;functional_1/..."), and every float range of the
    calibration is kept beside the scale that was computed from it.

    Parameters
    ----------
    data : bytes
        A .tflite file.

    Returns
    -------
    bytes
        The same graph; names of inputs and outputs stay.
    """
    model = parse(data)
    model.metadata = [m for m in model.metadata or [] if m.name not in _DROPPED_METADATA]
    for graph in model.subgraphs:
        public = {*graph.inputs, *graph.outputs} if graph is model.subgraphs[0] else set()
        for index, tensor in enumerate(graph.tensors):
            if index not in public:
                tensor.name = None
            if tensor.quantization is not None:
                tensor.quantization.min = None
                tensor.quantization.max = None
                if tensor.quantization.scale is None:
                    tensor.quantization = None
    _merge_operator_codes(model)
    _merge_buffers(model)
    return serialize(model)


def with_metadata(model: schema.ModelT, name: str, data: bytes) -> schema.ModelT:
    """Add a metadata entry.

    Parameters
    ----------
    model : ModelT
        Changed in place.
    name : str
        Of the entry.
    data : bytes
        Its contents.

    Returns
    -------
    ModelT
        `model`.
    """
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(data, np.uint8)
    entry.name, entry.buffer = name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or []), entry]
    return model


def signature_tensors(model: schema.ModelT) -> tuple[dict[str, int], dict[str, int]]:
    """Return the tensor index of each input and output name of the first signature."""
    signature = model.signatureDefs[0]
    return (
        {entry.name.decode(): entry.tensorIndex for entry in signature.inputs},
        {entry.name.decode(): entry.tensorIndex for entry in signature.outputs or []},
    )


def signatures_of(model: schema.ModelT) -> dict[str, dict[str, list[dict]]]:
    """Describe the tensors of each signature.

    Parameters
    ----------
    model : ModelT
        A model.

    Returns
    -------
    dict of str to dict
        By signature: ``inputs`` and ``outputs``, lists in the order in which the graph has them.
        A tensor has ``name``, ``shape`` (None where any size will do), ``dtype``, and, where it
        holds integers for numbers, ``scale`` and ``zero_point``: number = (integer - zero_point)
        * scale.
    """
    described = {}
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        key = _text(signature.signatureKey)
        described[key] = {
            "inputs": _tensors(graph, signature.inputs, graph.inputs),
            "outputs": _tensors(graph, signature.outputs, graph.outputs),
        }
    return described


def _tensors(graph: schema.SubGraphT, entries: Sequence, order: Iterable[int]) -> list[dict]:
    names = {entry.tensorIndex: _text(entry.name) for entry in entries}
    return [_described(names[index], graph.tensors[index]) for index in order]


def _described(name: str, tensor: schema.TensorT) -> dict:
    shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    sizes = [] if shape is None else [int(size) if size >= 0 else None for size in shape]
    described = {"name": name, "shape": sizes, "dtype": _TYPE_NAMES[tensor.type]}
    how = tensor.quantization
    if how is not None and how.scale is not None and len(how.scale):
        described["scale"] = float(how.scale[0])
        described["zero_point"] = 0 if how.zeroPoint is None else int(how.zeroPoint[0])
    return described


def _text(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


def _append(whole: schema.ModelT, part: schema.ModelT) -> None:
    """Add `part` to `whole`, its signature's inputs wired to whole's outputs of equal names."""
    main, added = whole.subgraphs[0], part.subgraphs[0]
    _, available = signature_tensors(whole)
    wanted, _ = signature_tensors(part)
    tensor_of = {index: available[name] for name, index in wanted.items() if name in available}
    for index, tensor in enumerate(added.tensors):
        if index in tensor_of:
            # The network knows the width of its rows where the encoder's graph may not.
            known = main.tensors[tensor_of[index]]
            known.shape, known.shapeSignature = tensor.shape, tensor.shapeSignature
            continue
        tensor_of[index] = len(main.tensors)
        main.tensors.append(tensor)
    # part's main graph melts into whole's; its others follow whole's others.
    _shift_indices(part, whole, len(whole.subgraphs) - 1)
    for operator in added.operators or []:
        for field in ("inputs", "outputs", "intermediates"):
            setattr(operator, field, _mapped(getattr(operator, field), tensor_of))
    main.operators = [*(main.operators or []), *(added.operators or [])]
    main.outputs = _mapped(added.outputs, tensor_of)
    whole.operatorCodes = [*(whole.operatorCodes or []), *(part.operatorCodes or [])]
    whole.buffers = [*whole.buffers, *part.buffers]
    whole.subgraphs = [*whole.subgraphs, *part.subgraphs[1:]]
    signature = whole.signatureDefs[0]
    signature.outputs = part.signatureDefs[0].outputs
    further = [e for e in part.signatureDefs[0].inputs if e.name.decode() not in available]
    for entry in [*signature.outputs, *further]:
        entry.tensorIndex = tensor_of[entry.tensorIndex]
    signature.inputs = [*signature.inputs, *further]
    main.inputs = np.array([*main.inputs, *(e.tensorIndex for e in further)], np.int32)


def _shift_indices(part: schema.ModelT, whole: schema.ModelT, subgraphs: int) -> None:
    """Move the operator codes, buffers and subgraphs `part` refers to behind those of `whole`."""
    codes, buffers = len(whole.operatorCodes or []), len(whole.buffers)
    for graph in part.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = tensor.buffer + buffers if tensor.buffer else 0
        for operator in graph.operators or []:
            operator.opcodeIndex += codes
            for name, value in vars(operator.builtinOptions or object).copy().items():
                if name.lower().endswith("subgraphindex") and value > 0:
                    setattr(operator.builtinOptions, name, value + subgraphs)


def _mapped(indices: Iterable[int] | None, tensor_of: dict[int, int]) -> np.ndarray | None:
    if indices is None:
        return None
    # -1 stands for an optional input that is absent.
    return np.array([tensor_of[int(i)] if i >= 0 else -1 for i in indices], np.int32)


def _merge_operator_codes(model: schema.ModelT) -> None:
    kept: dict[tuple, int] = {}
    codes, position = [], []
    for code in model.operatorCodes or []:
        key = (code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version)
        if key not in kept:
            kept[key] = len(codes)
            codes.append(code)
        position.append(kept[key])
    model.operatorCodes = codes
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            operator.opcodeIndex = position[operator.opcodeIndex]


def _merge_buffers(model: schema.ModelT) -> None:
    """Keep one copy of equal constants, and none of the buffers that hold nothing."""
    kept: dict[bytes, int] = {}
    buffers = [schema.BufferT()]  # index 0 means "no data" by convention

    def moved(index: int) -> int:
        data = model.buffers[index].data
        if data is None:
            return 0
        key = np.asarray(data, np.uint8).tobytes()
        if key not in kept:
            kept[key] = len(buffers)
            buffers.append(model.buffers[index])
        return kept[key]

    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = moved(tensor.buffer)
    for entry in model.metadata or []:
        entry.buffer = moved(entry.buffer)
    model.buffers = buffers


def _operator_name(code: schema.OperatorCodeT) -> str:
    if code.customCode:
        return code.customCode.decode()
    return _OPERATOR_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
