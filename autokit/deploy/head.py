"""The last dense layer of a file that learns: its graphs, in built-in operators.

``train_head`` is one step of gradient descent on a batch, its gradient written by hand, because
LiteRT has no automatic one::

    softmax, categorical cross-entropy   dL/dlogits = (p - t) / n
    sigmoid, binary cross-entropy        dL/dlogits = (p - t) / (n k)
    linear, mean squared error           dL/dlogits = 2 (z - t) / (n k)
    kernel -= learning_rate * dL/dlogits^T embedding,  bias -= learning_rate * sum(dL/dlogits)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.deploy.convert import Tensors
from autokit.deploy.prototypes import PROTOTYPES, SCALE, Comparison
from autokit.deploy.subject import EMBEDDING, OUTPUT, Subject

KERNEL, BIAS, RATE, LOSS = "kernel", "bias", "learning_rate", "loss"
LABELS, TARGETS = "labels", "targets"
LOSSES = {
    "softmax": "categorical_crossentropy",
    "sigmoid": "binary_crossentropy",
    "linear": "mean_squared_error",
}


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
    behind : keras.Model or None
        What lies between the embedding and this layer.
    comparison : Comparison or None
        Of a network that compares embeddings with prototypes.
    """

    kernel: np.ndarray
    bias: np.ndarray
    activation: str
    subject: Subject
    behind: keras.Model | None = None
    comparison: Comparison | None = None

    @property
    def takes_labels(self) -> bool:
        """Whether targets are class indices; otherwise they are numbers, one for each output."""
        return self.activation == "softmax" or self.subject.is_classifier

    def describe(self) -> dict[str, Any]:
        """Return what the file says of it."""
        return {
            "loss": LOSSES[self.activation],
            "kernel": list(self.kernel.shape),
            "bias": list(self.bias.shape),
            "targets": LABELS if self.takes_labels else TARGETS,
        }

    def specs(self, batch: int | None) -> dict[str, tf.TensorSpec]:
        """Inputs of the graphs, by name."""
        n_outputs, n_features = self.kernel.shape
        width = n_features if self.behind is None else self.behind.input_shape[1]
        shapes = {
            EMBEDDING: ((batch, width), "float32"),
            PROTOTYPES: ((None, width), "float32"),
            LABELS: ((batch,), "int32"),
            TARGETS: ((batch, n_outputs), "float32"),
            KERNEL: ((n_outputs, n_features), "float32"),
            BIAS: ((n_outputs,), "float32"),
            RATE: ((1,), "float32"),
            SCALE: ((1,), "float32"),
        }
        return {name: tf.TensorSpec(*spec, name=name) for name, spec in shapes.items()}

    def serve(self, t: Tensors) -> Tensors:
        """From embedding to answers, with the weights as shipped."""
        return self.infer({**t, KERNEL: tf.constant(self.kernel), BIAS: tf.constant(self.bias)})

    def infer(self, t: Tensors) -> Tensors:
        """From embedding, kernel and bias to answers."""
        estimator, outputs = self.subject.estimator, _logits(self._features(t), t)
        if getattr(estimator, "output_activation_", None) is None:  # else it is applied below
            outputs = self._activated(outputs)
        return {OUTPUT: outputs if estimator is None else estimator.output_graph(outputs)}

    def train(self, t: Tensors) -> Tensors:
        """One step of gradient descent."""
        features, target = self._features(t), self._target(t)
        logits = _logits(features, t)
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
            KERNEL: t[KERNEL] - rate * tf.matmul(gradient, features, transpose_a=True),
            BIAS: t[BIAS] - rate * tf.reduce_sum(gradient, axis=0),
            LOSS: tf.reshape(loss, [1]),
        }

    def shipped(self, t: Tensors) -> Tensors:
        """Kernel and bias times ``scale``: 1 for those of the file, 0 for new ones."""
        return {KERNEL: self.kernel * t[SCALE], BIAS: self.bias * t[SCALE]}

    def _features(self, t: Tensors) -> tf.Tensor:
        return t[EMBEDDING] if self.behind is None else self.behind(t[EMBEDDING])

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


def _logits(features: tf.Tensor, t: Tensors) -> tf.Tensor:
    return tf.matmul(features, t[KERNEL], transpose_b=True) + t[BIAS]
