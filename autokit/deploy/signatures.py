"""Files that can learn: the last dense layer trained by the file itself, on the phone.

A file with all signatures holds these graphs, of built-in operators only; they share one copy of
the weights::

    serve       rows                                             -> output
    embed       rows                                             -> embedding
    head        scale                                            -> kernel, bias   (as shipped)
    train_head  embedding, targets, kernel, bias, learning_rate  -> kernel, bias, loss
    infer       rows, kernel, bias                               -> output

``train_head`` is one step of gradient descent on a batch, see :mod:`autokit.deploy.head`. The
application keeps the head: tensors of shapes (n_outputs, n_features) and (n_outputs,) that go
in and come out. The rest of the network, quantised or not, stays as it is; the head is float32.
Files of few-shot learners have another way to learn, see :mod:`autokit.deploy.prototypes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.deploy import flatbuffer, routes
from autokit.deploy.convert import Conversion, convert_all
from autokit.deploy.head import BIAS, KERNEL, LABELS, LOSSES, RATE, TARGETS, Head
from autokit.deploy.network import prepared
from autokit.deploy.proof import ExportError
from autokit.deploy.prototypes import (
    CLASSIFY,
    PROTOTYPES,
    SCALE,
    check_compares,
    comparison_of,
)
from autokit.deploy.rows import Rows
from autokit.deploy.runtime import TFLiteModel
from autokit.deploy.subject import EMBEDDING, OUTPUT, Subject

SERVE, EMBED, TRAIN, INFER, HEAD = "serve", "embed", "train_head", "infer", "head"
SIGNATURES = (SERVE, EMBED, CLASSIFY, TRAIN, INFER)
_PROOF_ROWS = 32


def checked(signatures: Sequence[str]) -> tuple[str, ...]:
    """Check a choice of signatures; ``serve`` is always one of them.

    Raises
    ------
    ValueError
        If one is unknown.
    """
    chosen = [signatures] if isinstance(signatures, str) else list(signatures)
    unknown = [name for name in chosen if name not in SIGNATURES]
    if unknown:
        raise ValueError(
            f"signatures must be some of {', '.join(map(repr, SIGNATURES))}; got {unknown[0]!r}."
        )
    return tuple(name for name in SIGNATURES if name == SERVE or name in chosen)


def graph_of(
    subject: Subject, rows: Rows, options: routes.Options, signatures: Sequence[str]
) -> tuple[bytes, Head]:
    """Convert what is exported, with more signatures than ``serve``.

    Parameters
    ----------
    subject : Subject
        What is exported.
    rows : Rows
        To calibrate with.
    options : Options
        As for :func:`~autokit.deploy.routes.graph_of`; they apply to all but the head.
    signatures : sequence of str
        Of ``SIGNATURES``.

    Returns
    -------
    graph : bytes
        A .tflite file without metadata.
    head : Head
        Its last layer.

    Raises
    ------
    ExportError
        If the model does not end in a dense layer, compares rows with no prototypes (for
        "classify"), or cannot be converted.
    ValueError
        If inputs and outputs are to be integers.
    """
    if options.integer_io:
        raise ValueError(
            "signatures: the layer that is trained on the device takes numbers, not the integers "
            "of integer_io=True; choose one of the two."
        )
    if CLASSIFY in signatures:
        check_compares(subject.estimator)
    backbone, head = split(subject)
    embed = _renamed(routes.graph_of(backbone, rows, options), EMBEDDING)
    batch = _batch(embed)
    wanted = {
        SERVE: (head.serve, [EMBEDDING], batch),
        INFER: (head.infer, [EMBEDDING, KERNEL, BIAS], batch),
        TRAIN: (head.train, [EMBEDDING, head.describe()["targets"], KERNEL, BIAS, RATE], None),
        HEAD: (head.shipped, [SCALE], None),
    }
    if CLASSIFY in signatures:
        wanted[CLASSIFY] = (head.comparison.classify, [EMBEDDING, PROTOTYPES], batch)
        wanted[PROTOTYPES] = (head.comparison.give, [SCALE], None)
    needs_head = TRAIN in signatures or INFER in signatures
    beside = {HEAD: needs_head, PROTOTYPES: CLASSIFY in signatures}
    chosen = [name for name in wanted if name in signatures or beside.get(name)]
    traced = [Conversion(_traced(head, *wanted[name]), []) for name in chosen]
    graphs = dict(zip(chosen, convert_all(traced, options.timeout_s), strict=True))
    for name in {SERVE, INFER, CLASSIFY} & graphs.keys():
        graphs[name] = flatbuffer.join([embed, graphs[name]])
    if EMBED in signatures:
        graphs[EMBED] = embed
    return flatbuffer.slim(flatbuffer.bundle(graphs)), head


def split(subject: Subject) -> tuple[Subject, Head]:
    """Cut a model before its last dense layer.

    Parameters
    ----------
    subject : Subject
        A model of one output.

    Returns
    -------
    backbone : Subject
        From the same raw inputs to the features that the last layer sees, or to the embeddings
        that prototypes are means of.
    head : Head
        The last layer.

    Raises
    ------
    ExportError
        If the model does not end in a dense layer with a softmax, a sigmoid or no activation.
    """
    model = prepared(subject.model)
    if len(model.outputs) != 1:
        raise _no_head("the model has several outputs")
    layer = _origin(model.outputs[0])
    activation = "linear"
    if isinstance(layer, keras.layers.Activation | keras.layers.Softmax):
        activation = _activation_of(layer)
        layer = _origin(layer.input)
    if not isinstance(layer, keras.layers.Dense) or len(layer.output.shape) != 2:
        raise _no_head(f"its last layer is {layer.name!r}, a {type(layer).__name__}")
    if activation == "linear":
        activation = _activation_of(layer)
    elif _activation_of(layer) != "linear":
        raise _no_head(f"{layer.name!r} has two activations")
    of_estimator = getattr(subject.estimator, "output_activation_", None)
    activation = of_estimator or activation
    if activation not in LOSSES or (subject.is_classifier and activation == "linear"):
        raise _no_head(f"the activation of {layer.name!r} is {activation!r}")
    kernel = np.ascontiguousarray(np.asarray(layer.kernel, np.float32).T)
    bias = np.zeros(len(kernel)) if layer.bias is None else np.asarray(layer.bias)
    inputs = model.inputs if len(model.inputs) > 1 else model.inputs[0]
    comparison, behind = comparison_of(subject.estimator), None
    if comparison is None:
        features = keras.Model(inputs, layer.input)
    else:
        features = comparison.embedder(model)
        if features.outputs[0] is not layer.input:
            behind = keras.Model(features.outputs[0], layer.input)
    head = Head(kernel, bias.astype(np.float32), activation, subject, behind, comparison)
    estimator = None if subject.estimator is None else _Embedder(subject.estimator, features)
    return replace(subject, model=features, estimator=estimator, output_names=(OUTPUT,)), head


class _Embedder:
    """An estimator cut short: it answers with features."""

    def __init__(self, estimator: Any, model: keras.Model) -> None:
        self.encoder_, self.model_ = estimator.encoder_, model

    def predict(self, X: Any) -> np.ndarray:
        return np.asarray(self.model_(self.encoder_.encode(X), training=False))

    def output_graph(self, outputs: tf.Tensor) -> tf.Tensor:
        return outputs


def prove(file: TFLiteModel, tensors: dict[str, np.ndarray], head: Head) -> None:
    """Run every signature, and compare it with the others or with NumPy.

    Parameters
    ----------
    file : TFLiteModel
        From :func:`graph_of`.
    tensors : dict of str to ndarray
        Raw inputs.
    head : Head
        What it was made with.

    Raises
    ------
    ExportError
        If ``infer`` with the shipped head or ``classify`` with the shipped prototypes is not
        ``serve``, or a step of ``train_head`` is not that of NumPy.
    """
    tensors = {name: values[:_PROOF_ROWS] for name, values in tensors.items()}
    n_rows = len(next(iter(tensors.values())))
    (served,) = file.run(tensors).values()
    if INFER in file.signatures:
        (got,) = file.run_signature(INFER, tensors, file.shipped_head()).values()
        _must_be_close(INFER, got, served)
    if CLASSIFY in file.signatures:
        shipped = {PROTOTYPES: file.shipped_prototypes()}
        (got,) = file.run_signature(CLASSIFY, tensors, shipped).values()
        _must_be_close(CLASSIFY, got, served)
    if TRAIN not in file.signatures:
        return
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=(n_rows, head.kernel.shape[1])).astype(np.float32)
    if head.takes_labels:
        n_classes = max(2, len(head.bias))
        targets = {LABELS: rng.integers(0, n_classes, n_rows).astype(np.int32)}
    else:
        targets = {TARGETS: rng.normal(size=(n_rows, len(head.bias))).astype(np.float32)}
    batch = {EMBEDDING: embedding, **targets, **file.shipped_head(), RATE: np.float32([0.5])}
    got = file.run_signature(TRAIN, {}, batch)
    expected = head.train({name: tf.constant(values) for name, values in batch.items()})
    for name, value in expected.items():
        _must_be_close(TRAIN, got[name], np.asarray(value))


def _must_be_close(name: str, got: np.ndarray, expected: np.ndarray) -> None:
    error = np.abs(got - expected).max() / max(1.0, np.abs(expected).max())
    if not error < 1e-4:
        raise ExportError(
            f"signatures: {name} of the converted file is off by {error:.3g}; no file was written. "
            "Leave it out of signatures."
        )


def _traced(head: Head, call: Any, names: list[str], batch: int | None) -> Any:
    specs = [head.specs(batch)[name] for name in names]

    @tf.function(autograph=False, input_signature=specs)
    def graph(*tensors):
        return call(dict(zip(names, tensors, strict=True)))

    return graph.get_concrete_function()


def _renamed(data: bytes, name: str) -> bytes:
    model = flatbuffer.parse(data)
    (entry,) = model.signatureDefs[0].outputs
    entry.name = name
    return flatbuffer.serialize(model)


def _batch(data: bytes) -> int | None:
    """Return how many rows a graph takes at once; None for any number."""
    graph = flatbuffer.parse(data).subgraphs[0]
    tensor = graph.tensors[graph.inputs[0]]
    shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return int(shape[0]) if shape[0] > 0 else None


def _origin(tensor: Any) -> keras.layers.Layer:
    return tensor._keras_history.operation


def _activation_of(layer: keras.layers.Layer) -> str:
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    name = keras.activations.serialize(layer.activation)
    return name if isinstance(name, str) else str(name)


def _no_head(reason: str) -> ExportError:
    return ExportError(
        f"signatures: only a model that ends in a Dense layer with a softmax, a sigmoid or no "
        f"activation can be trained on the device, and {reason}; end it so, or ask for "
        "signatures=('serve',)."
    )
