"""Files that can learn: the last dense layer trained by the file itself, on the phone.

A file with all signatures holds these graphs, of built-in operators only; they share one copy of
the weights::

    serve       rows                                             -> output
    embed       rows                                             -> embedding
    head        scale                                            -> kernel, bias   (as shipped)
    train_head  embedding, targets, kernel, bias, learning_rate  -> kernel, bias, loss
    infer       rows, kernel, bias                               -> output

``train_head`` is one step of gradient descent on a batch, its gradient written by hand, because
LiteRT has no automatic one::

    softmax, categorical cross-entropy   dL/dlogits = (p - t) / n
    sigmoid, binary cross-entropy        dL/dlogits = (p - t) / (n k)
    linear, mean squared error           dL/dlogits = 2 (z - t) / (n k)
    kernel -= learning_rate * dL/dlogits^T embedding,  bias -= learning_rate * sum(dL/dlogits)

The application keeps the head: tensors of shapes (n_outputs, n_features) and (n_outputs,) that go
in and come out. The rest of the network, quantised or not, stays as it is; the head is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.deploy import flatbuffer, routes
from autokit.deploy.convert import Conversion, Tensors, convert_all
from autokit.deploy.network import prepared
from autokit.deploy.proof import ExportError
from autokit.deploy.rows import Rows
from autokit.deploy.runtime import TFLiteModel
from autokit.deploy.subject import OUTPUT, Subject

SERVE, EMBED, TRAIN, INFER, HEAD = "serve", "embed", "train_head", "infer", "head"
SIGNATURES = (SERVE, EMBED, TRAIN, INFER)
EMBEDDING, KERNEL, BIAS, RATE, LOSS = "embedding", "kernel", "bias", "learning_rate", "loss"
LABELS, TARGETS = "labels", "targets"
_LOSSES = {
    "softmax": "categorical_crossentropy",
    "sigmoid": "binary_crossentropy",
    "linear": "mean_squared_error",
}
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


@dataclass(frozen=True)
class Head:
    """The last dense layer of a network, and what turns its outputs into answers.

    Attributes
    ----------
    kernel : ndarray of shape (n_outputs, n_features), float32
        Transposed: so LiteRT keeps the weights of a dense layer, and one copy serves all graphs.
    bias : ndarray of shape (n_outputs,), float32
        Zeros for a layer without.
    activation : {"softmax", "sigmoid", "linear"}
        Says which loss is trained.
    subject : Subject
        Whose head it is.
    """

    kernel: np.ndarray
    bias: np.ndarray
    activation: str
    subject: Subject

    @property
    def takes_labels(self) -> bool:
        """Whether targets are class indices; otherwise they are numbers, one for each output."""
        return self.activation == "softmax" or self.subject.is_classifier

    def describe(self) -> dict[str, Any]:
        """Return what the file says of it."""
        return {
            "loss": _LOSSES[self.activation],
            "kernel": list(self.kernel.shape),
            "bias": list(self.bias.shape),
            "targets": LABELS if self.takes_labels else TARGETS,
        }

    def specs(self, batch: int | None) -> dict[str, tf.TensorSpec]:
        """Inputs of the graphs, by name."""
        n_outputs, n_features = self.kernel.shape
        shapes = {
            EMBEDDING: ((batch, n_features), "float32"),
            LABELS: ((batch,), "int32"),
            TARGETS: ((batch, n_outputs), "float32"),
            KERNEL: ((n_outputs, n_features), "float32"),
            BIAS: ((n_outputs,), "float32"),
            RATE: ((1,), "float32"),
            "scale": ((1,), "float32"),
        }
        return {name: tf.TensorSpec(*spec, name=name) for name, spec in shapes.items()}

    def serve(self, t: Tensors) -> Tensors:
        """From embedding to answers, with the weights as shipped."""
        return self.infer({**t, KERNEL: tf.constant(self.kernel), BIAS: tf.constant(self.bias)})

    def infer(self, t: Tensors) -> Tensors:
        """From embedding, kernel and bias to answers."""
        estimator, outputs = self.subject.estimator, _logits(t)
        if getattr(estimator, "output_activation_", None) is None:  # else it is applied below
            outputs = self._activated(outputs)
        return {OUTPUT: outputs if estimator is None else estimator.output_graph(outputs)}

    def train(self, t: Tensors) -> Tensors:
        """One step of gradient descent."""
        logits, target = _logits(t), self._target(t)
        n_rows = tf.cast(tf.shape(logits)[0], tf.float32)
        if self.activation == "softmax":
            divisor = n_rows
            loss = -tf.reduce_sum(target * tf.nn.log_softmax(logits)) / n_rows
        else:
            divisor = n_rows * float(len(self.bias))
            loss = tf.reduce_sum(self._losses(logits, target)) / divisor
        factor = 2.0 if self.activation == "linear" else 1.0
        gradient = factor * (self._activated(logits) - target) / divisor
        rate = t[RATE]
        return {
            KERNEL: t[KERNEL] - rate * tf.matmul(gradient, t[EMBEDDING], transpose_a=True),
            BIAS: t[BIAS] - rate * tf.reduce_sum(gradient, axis=0),
            LOSS: tf.reshape(loss, [1]),
        }

    def shipped(self, t: Tensors) -> Tensors:
        """Kernel and bias times ``scale``: 1 for those of the file, 0 for new ones."""
        return {KERNEL: self.kernel * t["scale"], BIAS: self.bias * t["scale"]}

    def _activated(self, logits: tf.Tensor) -> tf.Tensor:
        return logits if self.activation == "linear" else getattr(tf.nn, self.activation)(logits)

    def _losses(self, logits: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        if self.activation == "linear":
            return tf.square(logits - target)
        # log(1 + exp(z)) - t z, without overflow
        return tf.nn.relu(logits) - logits * target + tf.math.log(1.0 + tf.exp(-tf.abs(logits)))

    def _target(self, t: Tensors) -> tf.Tensor:
        if not self.takes_labels:
            scaled = getattr(self.subject.estimator, "target_", None)
            if scaled is None or not scaled.standardize:
                return t[TARGETS]
            from autokit.preprocessing.graph import affine

            return affine(t[TARGETS], scaled.mean_, scaled.scale_)
        if self.activation == "softmax":
            return tf.one_hot(t[LABELS], len(self.bias))
        return tf.expand_dims(tf.cast(t[LABELS], tf.float32), 1)


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
        If the model does not end in a dense layer, or cannot be converted.
    ValueError
        If inputs and outputs are to be integers.
    """
    if options.integer_io:
        raise ValueError(
            "signatures: the layer that is trained on the device takes numbers, not the integers "
            "of integer_io=True; choose one of the two."
        )
    backbone, head = split(subject)
    embed = _renamed(routes.graph_of(backbone, rows, options), EMBEDDING)
    batch = _batch(embed)
    wanted = {
        SERVE: (head.serve, [EMBEDDING], batch),
        INFER: (head.infer, [EMBEDDING, KERNEL, BIAS], batch),
        TRAIN: (head.train, [EMBEDDING, head.describe()["targets"], KERNEL, BIAS, RATE], None),
        HEAD: (head.shipped, ["scale"], None),
    }
    needs_head = TRAIN in signatures or INFER in signatures
    chosen = [name for name in wanted if name in signatures or (name == HEAD and needs_head)]
    traced = [Conversion(_traced(head, *wanted[name]), []) for name in chosen]
    graphs = dict(zip(chosen, convert_all(traced, options.timeout_s), strict=True))
    for name in {SERVE, INFER} & graphs.keys():
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
        From the same raw inputs to the features that the last layer sees.
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
    if activation not in _LOSSES or (subject.is_classifier and activation == "linear"):
        raise _no_head(f"the activation of {layer.name!r} is {activation!r}")
    kernel = np.ascontiguousarray(np.asarray(layer.kernel, np.float32).T)
    bias = np.zeros(len(kernel)) if layer.bias is None else np.asarray(layer.bias)
    head = Head(kernel, bias.astype(np.float32), activation, subject)
    inputs = model.inputs if len(model.inputs) > 1 else model.inputs[0]
    features = keras.Model(inputs, layer.input)
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
        If ``infer`` with the shipped head is not ``serve``, or a step of ``train_head`` is not
        that of NumPy.
    """
    tensors = {name: values[:_PROOF_ROWS] for name, values in tensors.items()}
    n_rows = len(next(iter(tensors.values())))
    if INFER in file.signatures:
        (served,) = file.run(tensors).values()
        (got,) = file.run_signature(INFER, tensors, file.shipped_head()).values()
        _must_be_close(INFER, got, served)
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


def _logits(t: Tensors) -> tf.Tensor:
    return tf.matmul(t[EMBEDDING], t[KERNEL], transpose_b=True) + t[BIAS]


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
