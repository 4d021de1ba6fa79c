"""The norm of each row's gradient, layer by layer, without the gradients.

For ``z = x W`` a row's gradient in W is ``sum_p x_p (outer) dz_p`` over the places p that share
the weights (one in a Dense layer, the pixels of a convolution), and its squared norm is
``sum_pq (x_p . x_q)(dz_p . dz_q)``.

References
----------
Goodfellow, "Efficient Per-Example Gradient Computations", 2015; Bu, Mao, Xu, "Scalable and
Efficient Training of Large Convolutional Neural Networks with Differential Privacy", 2022, on
convolutions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autokit._backend import keras, tf
from autokit.layers.graphs import graph_of
from autokit.training.program import leaves

ROUNDING = 1e-5  # of float32, in a sum of pairs of places
_L = keras.layers
# Layers without weights in which rows do not see each other. Whatever is not here goes the
# vectorised way, where they cannot.
_PLAIN = (
    _L.InputLayer, _L.Activation, _L.ReLU, _L.LeakyReLU, _L.ELU, _L.Identity, _L.Dropout,
    _L.SpatialDropout1D, _L.SpatialDropout2D, _L.GaussianNoise, _L.GaussianDropout, _L.Flatten,
    _L.Reshape, _L.Permute, _L.RepeatVector, _L.MaxPooling1D, _L.MaxPooling2D,
    _L.AveragePooling1D, _L.AveragePooling2D, _L.GlobalMaxPooling1D, _L.GlobalMaxPooling2D,
    _L.GlobalAveragePooling1D, _L.GlobalAveragePooling2D, _L.ZeroPadding1D, _L.ZeroPadding2D,
    _L.Cropping1D, _L.Cropping2D, _L.UpSampling1D, _L.UpSampling2D, _L.Rescaling, _L.Add,
    _L.Subtract, _L.Multiply, _L.Average, _L.Maximum, _L.Minimum,
)  # fmt: skip
_DERIVATIVES = {  # by the activation's own output
    keras.activations.linear: lambda out: None,
    keras.activations.relu: lambda out: tf.cast(out > 0, out.dtype),
    keras.activations.tanh: lambda out: 1.0 - tf.square(out),
    keras.activations.sigmoid: lambda out: out * (1.0 - out),
}


@dataclass
class Tapped:
    """A layer with weights, and what goes through it.

    Attributes
    ----------
    input, output : tf.Tensor of shape (n_rows, ...)
    params : list of tf.Tensor
        Of this layer.
    squared_norm : callable
        ``(input, gradient of the output, output, params) -> tensor of shape (n_rows,)``
    """

    input: Any
    output: Any
    params: list
    squared_norm: Callable


@dataclass
class Probe:
    """A model that shows what goes into and comes out of its layers with weights.

    Attributes
    ----------
    call : callable
        ``(params, buffers, x) -> (outputs, list of Tapped, buffers)``
    row_bytes : int
        That the norms of one row take.
    output_shape : tuple of int
        Of one row.
    """

    call: Callable
    row_bytes: int
    output_shape: tuple


def probe(model: keras.Model) -> Probe | None:
    """The probe of a model; None where a layer's norms are not known, or rows may mix."""
    if not isinstance(model, keras.Sequential) and type(model).__name__ != "Functional":
        return None
    if not all(_is_known(layer) for layer in leaves(model)):
        return None
    try:
        # a copy: what its layers are called with is seen by calling them once more
        copy = model.__class__.from_config(model.get_config())
    except (TypeError, ValueError):  # of objects that Keras cannot describe
        return None
    graph = graph_of(copy)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or None in copy.output_shape[1:]:
        return None
    weighted, norms, row_bytes = [], [], 4
    for call in graph.calls:
        if not isinstance(call.layer, keras.Layer) or not _keeps_rows_apart(call):
            return None
        if not call.layer.trainable_variables:
            continue
        found = None
        if len(call.inputs) == 1 and graph.is_called_once(call.layer):
            found = _KINDS[type(call.layer)](call.layer)
        if found is None:
            return None
        weighted.append(call)
        norms.append(found[0])
        row_bytes = max(row_bytes, 4 * found[1])
    if not weighted or len(copy.trainable_variables) != len(model.trainable_variables):
        return None
    shown = [graph.outputs[0], *(c.inputs[0] for c in weighted), *(c.outputs for c in weighted)]
    return _made(copy, keras.Model(graph.inputs, shown), weighted, norms, row_bytes)


def _is_known(layer) -> bool:
    if isinstance(layer, keras.Model):
        return type(layer) is keras.Sequential or type(layer).__name__ == "Functional"
    activation = getattr(layer, "activation", None)
    return (type(layer) in _PLAIN or type(layer) in _KINDS) and (
        activation is None or getattr(activation, "__module__", "").startswith("keras.")
    )


def _keeps_rows_apart(call) -> bool:
    layer = call.layer
    axes = getattr(layer, "axis", None)
    return (
        layer.compute_dtype == "float32"
        and getattr(layer, "activity_regularizer", None) is None
        and not getattr(layer, "lora_enabled", False)
        and 0 not in (axes if isinstance(axes, list | tuple) else [axes])
    )


def _made(model, tapped, weighted, norms, row_bytes) -> Probe:
    places = {id(v): i for i, v in enumerate(model.trainable_variables)}
    order = [places[id(v)] for v in tapped.trainable_variables]
    state = {id(v): i for i, v in enumerate(model.non_trainable_variables)}
    state_order = [state[id(v)] for v in tapped.non_trainable_variables]
    own = [[places[id(v)] for v in call.layer.trainable_variables] for call in weighted]

    def call(params, buffers, x):
        shown, new = tapped.stateless_call(
            [params[i] for i in order], [buffers[i] for i in state_order], x, training=True
        )
        outputs, through = shown[0], shown[1:]
        n = len(weighted)
        layers = [
            Tapped(through[i], through[n + i], [params[j] for j in own[i]], norms[i])
            for i in range(n)
        ]
        buffers = list(buffers)
        for place, value in zip(state_order, new, strict=True):
            buffers[place] = value
        return outputs, layers, buffers

    return Probe(call, row_bytes, tuple(model.output_shape[1:]))


def _dense(layer):
    has_bias = layer.use_bias
    n_places = _n_places(layer.output.shape[1:-1])
    if n_places is None or len(layer.trainable_variables) != 1 + has_bias:
        return None
    n_in, units = int(layer.kernel.shape[0]), layer.units

    def squared_norm(x, gradient, out, params):
        dz = _before(layer.activation, gradient, out, lambda: _affine(x, params))
        n = tf.shape(x)[0]
        return _outer_norm(
            tf.reshape(x, (n, n_places, n_in)), tf.reshape(dz, (n, n_places, units)), has_bias
        )

    return squared_norm, _outer_floats(n_places, n_in, units)


def _convolution(layer):
    two = isinstance(layer, _L.Conv2D)
    if layer.groups != 1 or layer.padding not in ("valid", "same"):
        return None
    if len(layer.trainable_variables) != 1 + layer.use_bias:
        return None
    if layer.data_format != "channels_last":
        return None
    n_places = _n_places(layer.output.shape[1:-1])
    if n_places is None:
        return None

    def flat(pair):
        return [1, *(tuple(pair) if two else (1, *pair)), 1]

    sizes, strides, rates = map(flat, (layer.kernel_size, layer.strides, layer.dilation_rate))
    n_in = sizes[1] * sizes[2] * int(layer.kernel.shape[-2])
    padding, has_bias, filters = layer.padding.upper(), layer.use_bias, layer.filters

    def reach(image):
        """What each place of the output sees."""
        if image.shape[-1] >= 8:
            return tf.image.extract_patches(image, sizes, strides, rates, padding)
        # with few channels a convolution that copies is four times as fast
        copying = tf.reshape(tf.eye(n_in), (*sizes[1:3], -1, n_in))
        return tf.nn.conv2d(image, copying, strides, padding, dilations=rates)

    def squared_norm(x, gradient, out, params):
        patches = reach(x if two else x[:, None])
        patches = tf.reshape(patches, (-1, n_places, n_in))

        def recomputed():
            kernel = tf.reshape(params[0], (n_in, filters))
            z = _affine(patches, [kernel, *params[1:]])
            return tf.reshape(z, tf.shape(out))

        dz = _before(layer.activation, gradient, out, recomputed)
        return _outer_norm(patches, tf.reshape(dz, (-1, n_places, filters)), has_bias)

    return squared_norm, n_places * n_in + _outer_floats(n_places, n_in, filters)


def _by_row(layer):
    """The gradients themselves: of layers with few weights."""

    def squared_norm(x, gradient, out, params):
        def of_row(row):
            with tf.GradientTape() as tape:
                tape.watch(params)
                answer = layer.stateless_call(params, [], row[0][None])[0]
            found = tape.gradient(
                answer, params, output_gradients=row[1][None], unconnected_gradients="zero"
            )
            return tf.add_n([tf.reduce_sum(tf.square(tf.convert_to_tensor(g))) for g in found])

        return tf.vectorized_map(of_row, (x, gradient))

    if layer.non_trainable_variables:
        return None
    return squared_norm, sum(int(v.shape.num_elements()) for v in layer.trainable_variables)


_KINDS = {
    _L.Dense: _dense,
    _L.Conv1D: _convolution,
    _L.Conv2D: _convolution,
    _L.LayerNormalization: _by_row,
    _L.GroupNormalization: _by_row,
    _L.Embedding: _by_row,
    _L.PReLU: _by_row,
}


def _outer_norm(x, dz, has_bias) -> tf.Tensor:
    """|sum_p x_p (outer) dz_p|^2, with |sum_p dz_p|^2 for a bias."""
    n_places, n_in, n_out = x.shape[1], x.shape[2], dz.shape[2]
    if n_places == 1:
        square = tf.reduce_sum(tf.square(x), (1, 2)) * tf.reduce_sum(tf.square(dz), (1, 2))
    elif _by_pairs(n_places, n_in, n_out):
        pairs = tf.matmul(x, x, transpose_b=True) * tf.matmul(dz, dz, transpose_b=True)
        # terms may cancel: what they may have lost is added, so that no row is cut too little
        sizes = tf.reduce_sum(tf.norm(x, axis=2) * tf.norm(dz, axis=2), 1)
        square = tf.maximum(tf.reduce_sum(pairs, (1, 2)), 0.0) + ROUNDING * tf.square(sizes)
    else:
        square = tf.reduce_sum(tf.square(tf.matmul(x, dz, transpose_a=True)), (1, 2))
    if has_bias:
        square += tf.reduce_sum(tf.square(tf.reduce_sum(dz, 1)), 1)
    return square


def _by_pairs(n_places, n_in, n_out) -> bool:
    return n_places * (n_in + n_out) < n_in * n_out


def _outer_floats(n_places, n_in, n_out) -> int:
    if n_places == 1:
        return n_in + n_out
    return 2 * n_places**2 if _by_pairs(n_places, n_in, n_out) else n_in * n_out


def _before(activation, gradient, out, recompute) -> tf.Tensor:
    """The gradient before the activation, from that after it."""
    if activation in _DERIVATIVES:
        slope = _DERIVATIVES[activation](out)
        return gradient if slope is None else gradient * slope
    z = recompute()
    with tf.GradientTape() as tape:
        tape.watch(z)
        answer = activation(z)
    return tape.gradient(answer, z, output_gradients=gradient)


def _affine(x, params) -> tf.Tensor:
    z = tf.tensordot(x, params[0], 1)
    return z + params[1] if len(params) > 1 else z


def _n_places(shape) -> int | None:
    total = 1
    for side in shape:
        if side is None:
            return None
        total *= side
    return total
