"""Encoders: networks from a row to an embedding, for learners that compare rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autokit._backend import keras
from autokit.layers.networks import BATCH_NORM_MOMENTUM, sequence

WIDTH = 64


def conv4(
    input_shape: Sequence[int], *, filters: int = WIDTH, n_blocks: int = 4, strided: bool = False
) -> keras.Model:
    """The four convolutions of the few-shot literature.

    ``n_blocks`` times: 3 x 3 convolution, batch normalisation, ReLU, and half the size; then
    flattened. Halving stops where the image is one pixel wide.

    Parameters
    ----------
    input_shape : sequence of int
        ``(height, width)`` or ``(height, width, channels)``.
    filters : int, default=64
    n_blocks : int, default=4
    strided : bool, default=False
        Halve by strides of the convolutions (Finn et al. on Omniglot) instead of max pooling
        (Vinyals et al., Snell et al.): a quarter of the work.

    Returns
    -------
    keras.Model
        From ``(batch, *input_shape)`` to ``(batch, n_features)``.

    References
    ----------
    Vinyals et al., "Matching Networks for One Shot Learning", 2016, section 4.1.1.

    Examples
    --------
    >>> from autokit.layers import conv4
    >>> conv4((28, 28)).output_shape
    (None, 64)
    """
    shape = tuple(int(n) for n in input_shape)
    inputs = keras.Input(shape)
    x = inputs if len(shape) == 3 else keras.layers.Reshape((*shape, 1))(inputs)
    for _ in range(n_blocks):
        halves = min(x.shape[1], x.shape[2]) > 1
        strides = 2 if strided and halves else 1
        x = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
        x = keras.layers.Activation("relu")(x)
        if halves and not strided:
            x = keras.layers.MaxPooling2D()(x)
    return keras.Model(inputs, keras.layers.Flatten()(x))


def default_encoder(kind: str, input_shape: Sequence[int], strided: bool = False) -> keras.Model:
    """A sensible encoder for the input.

    Parameters
    ----------
    kind : {"table", "image", "sequence", "array"}
        As the encoders of rows say.
    input_shape : tuple of int
        Of one encoded row.
    strided : bool, default=False
        See `conv4`.

    Returns
    -------
    keras.Model
        `conv4` for images (fewer than four blocks below 23 pixels), convolutions over time for
        sequences, two dense layers of 64 units for anything else.
    """
    if kind == "image":
        # features of small images keep a map of 2 x 2: what is pooled away is not there for new
        # classes (digits of 8 x 8: 5-shot .91 with two blocks, .72 with four)
        n_blocks = min(4, max(1, round(math.log2(min(input_shape[:2]))) - 1))
        return conv4(input_shape, n_blocks=n_blocks, strided=strided)
    if kind == "sequence":
        whole = sequence(input_shape, 1, widths=(WIDTH, WIDTH), dropout=0.0)
        return keras.Model(whole.inputs[0], whole.layers[-1].input)
    inputs = keras.Input(tuple(int(n) for n in input_shape))
    x = inputs if len(input_shape) == 1 else keras.layers.Flatten()(inputs)
    for _ in range(2):
        x = keras.layers.Dense(WIDTH, "relu", kernel_initializer="he_normal")(x)
    return keras.Model(inputs, x)
