"""The mixed operation: an edge of a supernet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autokit._backend import keras

ops = keras.ops
PACKAGE = "autokit"


@keras.saving.register_keras_serializable(PACKAGE)
class MixedOperation(keras.layers.Layer):
    """A weighted sum of several operations, or one of them alone.

    ::

        y = sum_k mixture[k] * operation_k(x)     # mixture: floats of shape (n_operations,)
        y = operation_c(x)                        # mixture: an integer c of shape ()

    Given floats, every operation is computed (DARTS). Given an integer, only the chosen one is,
    inside the graph: another choice neither retraces nor computes the others (ENAS, single-path
    supernets). The integer ``n_operations`` chooses none of them, which is an edge left out.

    Batch normalisation within the operations leaves no trace in its moving statistics: these would
    mix what different choices saw. Call with ``training=True`` for the statistics of the batch.

    Parameters
    ----------
    operations : sequence of keras.Layer or None
        All from one input shape to one output shape; None answers zeros and costs nothing. At
        least one is a layer.

    Raises
    ------
    ValueError
        There is no layer among the operations, or their output shapes differ.

    References
    ----------
    Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, equation 2; the
    softmax is the caller's, so that the layer also serves other relaxations.
    """

    def __init__(self, operations: Sequence[keras.Layer | None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.operations = [
            keras.saving.deserialize_keras_object(o) if isinstance(o, dict) else o
            for o in operations
        ]
        if not any(o is not None for o in self.operations):
            raise ValueError(
                f"operations of {self.name} must hold at least one layer; got {len(operations)} "
                "times None."
            )

    def build(self, inputs_shape, mixture_shape) -> None:
        """Build what is not built."""
        shapes = {}
        for i, operation in enumerate(self.operations):
            if operation is not None:
                if not operation.built:
                    operation.build(inputs_shape)
                shapes[i] = tuple(operation.compute_output_shape(inputs_shape))
        if len(set(shapes.values())) > 1:
            raise ValueError(
                f"operations of {self.name} must have one output shape; got {shapes} for inputs "
                f"of shape {tuple(inputs_shape)}."
            )

    def compute_output_shape(self, inputs_shape, mixture_shape) -> tuple:
        """The shape that all operations have in common."""
        some = next(o for o in self.operations if o is not None)
        return tuple(some.compute_output_shape(inputs_shape))

    def call(self, inputs: Any, mixture: Any, training: bool | None = None) -> Any:
        """Mix, or choose."""
        if "int" in str(mixture.dtype):
            return self._chosen(inputs, mixture, training)
        outputs = [
            ops.cast(mixture[k], inputs.dtype) * self._apply(o, inputs, training)
            for k, o in enumerate(self.operations)
            if o is not None
        ]
        return sum(outputs[1:], outputs[0])

    def _chosen(self, inputs, choice, training):
        def zeros():
            shape = self.compute_output_shape(inputs.shape, ())
            return ops.zeros((ops.shape(inputs)[0], *shape[1:]), inputs.dtype)

        def branch(operation):
            return zeros if operation is None else lambda: self._apply(operation, inputs, training)

        return ops.switch(choice, [*map(branch, self.operations), zeros])

    def _apply(self, operation, inputs, training):
        # what a layer writes inside a branch of the graph must not be read outside of it
        with keras.StatelessScope([(v, v.value) for v in operation.variables]):
            return operation(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        """The operations, serialised."""
        operations = [
            None if o is None else keras.saving.serialize_keras_object(o) for o in self.operations
        ]
        return {**super().get_config(), "operations": operations}
