"""One pass through an untrained network for a proxy, cheaper than a call of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autokit._backend import keras, tf


def fused_batch_norm(layer: keras.layers.BatchNormalization, x: Any) -> Any:
    """Batch normalisation by the batch's statistics, as one operation where there is one.

    Keras writes it in about twenty small ones, which are most of the time of a pass that is not
    compiled.
    """
    fits = x.shape.rank == 4 and layer.axis in (-1, 3) and x.dtype == tf.float32
    if not (fits and layer.center and layer.scale):
        return layer(x, training=True)
    y, _, _ = tf.compat.v1.nn.fused_batch_norm(
        x, layer.gamma, layer.beta, epsilon=layer.epsilon, is_training=True
    )
    return y


def forward(
    model: keras.Model,
    rows: Any,
    *,
    batch_norm: Callable[[Any, Any], Any] = fused_batch_norm,
    observe: Callable[[Any, Any], None] | None = None,
    values: list | None = None,
) -> Any:
    """The outputs of a network in training mode; what it would write to its variables is dropped.

    Parameters
    ----------
    model : keras.Model
    rows : tf.Tensor of shape (n_rows, ...)
    batch_norm : callable, default=fused_batch_norm
        ``(layer, x) -> y``, what takes the place of a batch normalisation. A model that is
        neither Functional nor Sequential is called as it is.
    observe : callable or None, default=None
        Is shown each layer of a Functional or Sequential model and its output.
    values : list of (variable, tensor) or None, default=None
        What to take for the values of variables.
    """
    with keras.StatelessScope(state_mapping=values):
        return _run(model, [rows], batch_norm, observe)


def _run(model, inputs, batch_norm, observe):
    graph = getattr(model, "_functional", None) or model
    if not hasattr(graph, "_nodes_by_depth"):
        return model(*inputs, training=True)
    known = {id(t): x for t, x in zip(graph.inputs, inputs, strict=True)}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            layer = node.operation
            if isinstance(layer, keras.layers.InputLayer):
                continue
            args, kwargs = node.arguments.fill_in(known)
            if isinstance(layer, keras.Model):
                outputs = _run(layer, keras.tree.flatten(args), batch_norm, observe)
            elif isinstance(layer, keras.layers.BatchNormalization):
                outputs = batch_norm(layer, args[0])
            else:
                if getattr(layer, "_call_has_training_arg", False):
                    kwargs["training"] = True
                outputs = layer(*args, **kwargs)
            if observe is not None:
                observe(layer, outputs)
            known |= zip(map(id, node.outputs), keras.tree.flatten(outputs), strict=True)
    outputs = [known[id(t)] for t in graph.outputs]
    return outputs[0] if len(outputs) == 1 else outputs
