"""Builders of plain Keras models from built-in layers only.

The default models of the estimators and the search spaces stand on the same three builders, so
a model found by a search loads wherever Keras does and converts to TFLite's built-in operators.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autokit._backend import keras

ACTIVATIONS = ("relu", "selu", "gelu", "silu")
NORMALIZATIONS = (None, "batch", "layer")
BLOCKS = ("plain", "residual", "separable", "inverted")

# Keras' 0.99 needs several hundred steps to forget the initial statistics: a candidate judged
# after one epoch of a small data set would be validated with meaningless ones.
BATCH_NORM_MOMENTUM = 0.9


def mlp(
    input_shape: Sequence[int],
    n_outputs: int,
    *,
    output_activation: str = "linear",
    widths: Sequence[int] = (128, 64),
    activation: str = "relu",
    normalization: str | None = None,
    dropout: float = 0.0,
    residual: bool = False,
) -> keras.Model:
    """Build a multi-layer perceptron.

    Each hidden layer is ``h = dropout(activation(norm(dense(x))))``, and ``h + x`` with
    ``residual`` (``x`` projected linearly where the widths differ).

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one row, without the batch dimension. More than one axis is flattened.
    n_outputs : int
        Units of the last layer.
    output_activation : str, default="linear"
        Activation after the last dense layer, for example "softmax".
    widths : sequence of int, default=(128, 64)
        Units of the hidden layers. Empty for a linear model.
    activation : {"relu", "selu", "gelu", "silu"}, default="relu"
        Hidden activation. With "selu", weights are LeCun-initialised and dropout is
        AlphaDropout, as self-normalisation requires.
    normalization : {None, "batch", "layer"}, default=None
        Normalisation between the dense layer and the activation.
    dropout : float, default=0.0
        Dropped share after each hidden layer, in [0, 1).
    residual : bool, default=False
        Add a shortcut around each hidden layer.

    Returns
    -------
    keras.Model
        From ``(batch, *input_shape)`` to ``(batch, n_outputs)``.

    Raises
    ------
    ValueError
        If an argument is not one of the values listed.

    Examples
    --------
    >>> from autokit.layers import mlp
    >>> mlp((4,), 3, output_activation="softmax", widths=(8,)).output_shape
    (None, 3)
    """
    _check_choice("activation", activation, ACTIVATIONS)
    _check_choice("normalization", normalization, NORMALIZATIONS)
    inputs = keras.Input(tuple(int(n) for n in input_shape))
    x = inputs if len(input_shape) == 1 else keras.layers.Flatten()(inputs)
    for width in map(int, widths):
        h = keras.layers.Dense(
            width,
            use_bias=normalization != "batch",
            kernel_initializer=_initializer(activation),
        )(x)
        h = _normalize(h, normalization)
        h = _activate(h, activation)
        if residual:
            shortcut = x if x.shape[-1] == width else keras.layers.Dense(width, use_bias=False)(x)
            h = keras.layers.Add()([h, shortcut])
        if dropout > 0:
            drop = keras.layers.AlphaDropout if activation == "selu" else keras.layers.Dropout
            h = drop(float(dropout))(h)
        x = h
    return keras.Model(inputs, head(x, n_outputs, output_activation))


def cnn(
    input_shape: Sequence[int],
    n_outputs: int,
    *,
    output_activation: str = "linear",
    stem_width: int = 32,
    widths: Sequence[int] = (32, 64),
    blocks: int | Sequence[int] = 1,
    block: str = "residual",
    kernel_size: int = 3,
    activation: str = "relu",
    dropout: float = 0.2,
) -> keras.Model:
    """Build a convolutional network for images from 8x8 up.

    A stem (conv, batch norm, activation; strided for sides from 64 up), stages of blocks with a
    max pooling between stages while the image is at least 4x4, global average pooling, dropout,
    and the output layer.

    Parameters
    ----------
    input_shape : sequence of int
        ``(height, width)`` or ``(height, width, channels)``.
    n_outputs : int
        Units of the last layer.
    output_activation : str, default="linear"
        Activation after the last dense layer, for example "softmax".
    stem_width : int, default=32
        Filters of the stem.
    widths : sequence of int, default=(32, 64)
        Filters of each stage.
    blocks : int or sequence of int, default=1
        Blocks of each stage, or one number for all of them.
    block : {"plain", "residual", "separable", "inverted"}, default="residual"
        "plain": conv, norm, activation. "residual": two of them with a shortcut. "separable":
        depthwise and pointwise convolution, norm, activation. "inverted": the inverted
        bottleneck of MobileNetV2 with expansion 3.
    kernel_size : int, default=3
        Side of the convolution kernels within blocks.
    activation : {"relu", "selu", "gelu", "silu"}, default="relu"
        Activation of the blocks.
    dropout : float, default=0.2
        Dropped share of the pooled features, in [0, 1).

    Returns
    -------
    keras.Model
        From ``(batch, *input_shape)`` to ``(batch, n_outputs)``.

    Raises
    ------
    ValueError
        If an argument is not one of the values listed, or `input_shape` is no image's.

    Examples
    --------
    >>> from autokit.layers import cnn
    >>> cnn((8, 8), 10, output_activation="softmax").output_shape
    (None, 10)
    """
    _check_choice("block", block, BLOCKS)
    _check_choice("activation", activation, ACTIVATIONS)
    shape = tuple(int(n) for n in input_shape)
    if len(shape) not in (2, 3):
        raise ValueError(
            f"input_shape of a cnn must be (height, width) or (height, width, channels); got "
            f"{shape}. Reshape the images, or use mlp for rows."
        )
    counts = [int(blocks)] * len(widths) if isinstance(blocks, int) else [int(n) for n in blocks]
    if len(counts) != len(widths):
        raise ValueError(
            f"blocks must be one int or one for each of the {len(widths)} stages in widths; got "
            f"{len(counts)}."
        )
    inputs = keras.Input(shape)
    x = inputs if len(shape) == 3 else keras.layers.Reshape((*shape, 1))(inputs)
    x = _conv(x, int(stem_width), 3, activation, strides=stem_stride(shape))
    for stage, (width, count) in enumerate(zip(map(int, widths), counts, strict=True)):
        if stage > 0 and min(x.shape[1], x.shape[2]) >= 4:
            x = keras.layers.MaxPooling2D()(x)
        for _ in range(count):
            x = _BLOCK_BUILDERS[block](x, width, int(kernel_size), activation)
    x = keras.layers.GlobalAveragePooling2D()(x)
    if dropout > 0:
        x = keras.layers.Dropout(float(dropout))(x)
    return keras.Model(inputs, head(x, n_outputs, output_activation))


def sequence(
    input_shape: Sequence[int],
    n_outputs: int,
    *,
    output_activation: str = "linear",
    widths: Sequence[int] = (32, 64),
    kernel_size: int = 5,
    recurrent_units: int = 0,
    dropout: float = 0.2,
) -> keras.Model:
    """Build a network for sequences: 1-D convolutions, and a GRU on top if asked for.

    Parameters
    ----------
    input_shape : sequence of int
        ``(steps, features)``.
    n_outputs : int
        Units of the last layer.
    output_activation : str, default="linear"
        Activation after the last dense layer, for example "softmax".
    widths : sequence of int, default=(32, 64)
        Filters of the convolutions. The sequence is halved between them while it has at least
        8 steps.
    kernel_size : int, default=5
        Steps seen by one convolution.
    recurrent_units : int, default=0
        Units of a GRU over the convolved sequence. 0 pools by the average instead, which is
        faster and converts to int8.
    dropout : float, default=0.2
        Dropped share of the pooled features, in [0, 1).

    Returns
    -------
    keras.Model
        From ``(batch, steps, features)`` to ``(batch, n_outputs)``.

    Raises
    ------
    ValueError
        If `input_shape` is not (steps, features).

    Examples
    --------
    >>> from autokit.layers import sequence
    >>> sequence((50, 6), 4, output_activation="softmax").output_shape
    (None, 4)
    """
    if len(input_shape) != 2:
        raise ValueError(
            f"input_shape of a sequence must be (steps, features); got {tuple(input_shape)}. "
            "Reshape X to (n_samples, steps, features)."
        )
    inputs = keras.Input(tuple(int(n) for n in input_shape))
    x = inputs
    for i, width in enumerate(map(int, widths)):
        if i > 0 and x.shape[1] >= 8:
            x = keras.layers.MaxPooling1D()(x)
        x = keras.layers.Conv1D(
            width,
            int(kernel_size),
            padding="same",
            use_bias=False,
            kernel_initializer=_initializer("relu"),
        )(x)
        x = _normalize(x, "batch")
        x = keras.layers.Activation("relu")(x)
    if recurrent_units > 0:
        x = keras.layers.GRU(int(recurrent_units))(x)
    else:
        x = keras.layers.GlobalAveragePooling1D()(x)
    if dropout > 0:
        x = keras.layers.Dropout(float(dropout))(x)
    return keras.Model(inputs, head(x, n_outputs, output_activation))


def _check_choice(name, value, choices) -> None:
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{name} must be one of {known}; got {value!r}.")


def _initializer(activation: str) -> str:
    return {"relu": "he_normal", "selu": "lecun_normal"}.get(activation, "glorot_uniform")


def _activate(x, activation: str):
    if activation == "silu":
        # tf.nn.silu registers a gradient for every graph it is traced in, for ever: each
        # training of a new network would leak its graphs
        return keras.layers.Multiply()([x, keras.layers.Activation("sigmoid")(x)])
    return keras.layers.Activation(activation)(x)


def _normalize(x, normalization):
    if normalization == "batch":
        return keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    if normalization == "layer":
        return keras.layers.LayerNormalization()(x)
    return x


def head(x, n_outputs: int, output_activation: str):
    """The output layer, and its activation in float32."""
    x = keras.layers.Dense(int(n_outputs), name="outputs")(x)
    if output_activation != "linear":
        # float32 also under mixed precision: a float16 softmax loses the small probabilities.
        x = keras.layers.Activation(output_activation, dtype="float32")(x)
    return x


def stem_stride(shape) -> int:
    """1 up to 63 pixels, 2 from 64, 4 from 128: what reaches the stages stays near 32x32."""
    side = min(shape[0], shape[1])
    return 1 if side < 64 else min(4, 2 ** int(math.log2(side / 32)))


def _conv(x, width, kernel_size, activation, strides=1):
    x = keras.layers.Conv2D(
        width,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=_initializer(activation or "relu"),
    )(x)
    x = _normalize(x, "batch")
    return _activate(x, activation) if activation else x


def _residual(x, width, kernel_size, activation):
    h = _conv(x, width, kernel_size, activation)
    h = _conv(h, width, kernel_size, None)
    shortcut = x if x.shape[-1] == width else _conv(x, width, 1, None)
    return _activate(keras.layers.Add()([h, shortcut]), activation)


def _separable(x, width, kernel_size, activation):
    x = keras.layers.SeparableConv2D(width, kernel_size, padding="same", use_bias=False)(x)
    x = _normalize(x, "batch")
    return _activate(x, activation)


def _inverted(x, width, kernel_size, activation, expansion=3):
    h = _conv(x, expansion * x.shape[-1], 1, activation)
    h = keras.layers.DepthwiseConv2D(kernel_size, padding="same", use_bias=False)(h)
    h = _normalize(h, "batch")
    h = _activate(h, activation)
    h = _conv(h, width, 1, None)
    return keras.layers.Add()([h, x]) if x.shape[-1] == width else h


_BLOCK_BUILDERS = {
    "plain": _conv,
    "residual": _residual,
    "separable": _separable,
    "inverted": _inverted,
}
