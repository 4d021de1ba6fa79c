"""Operations of cells, from built-in Keras layers only.

An operation is a function ``(x, width, strides) -> y`` from a tensor of shape (batch, height,
width, channels) to one of `width` channels, whose sides are those of `x` divided by `strides`
(1 or 2) and rounded up. Paddings are "same": with strides of 2 TensorFlow pads below and to the
right only, where the original PyTorch code pads on all sides; the counts are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autokit._backend import keras
from autokit.layers.networks import BATCH_NORM_MOMENTUM

CellOp = Callable[[Any, int, int], Any]


def batch_norm(x):
    """Batch normalisation that forgets its initial statistics within an epoch."""
    return keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)


def convolution(x, width: int, kernel_size: int, strides: int = 1):
    """A convolution without bias, initialised for ReLU."""
    return keras.layers.Conv2D(
        width,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)


def relu_conv_bn(x, width: int, strides: int = 1, *, kernel_size: int):
    """ReLU, convolution, batch normalisation."""
    x = keras.layers.Activation("relu")(x)
    return batch_norm(convolution(x, width, kernel_size, strides))


def dilated_conv(x, width: int, strides: int = 1, *, kernel_size: int):
    """ReLU, depthwise convolution with dilation 2, pointwise convolution, batch norm.

    With strides of 2, which Keras does not combine with dilation, the pointwise convolution has
    the strides: fewer of the same numbers are kept.
    """
    x = keras.layers.Activation("relu")(x)
    x = keras.layers.DepthwiseConv2D(kernel_size, padding="same", dilation_rate=2, use_bias=False)(
        x
    )
    return batch_norm(convolution(x, width, 1, strides))


def separable_conv(x, width: int, strides: int = 1, *, kernel_size: int):
    """Twice: ReLU, depthwise convolution, pointwise convolution, batch norm."""
    for step in (strides, 1):
        x = keras.layers.Activation("relu")(x)
        x = keras.layers.DepthwiseConv2D(kernel_size, strides=step, padding="same", use_bias=False)(
            x
        )
        x = batch_norm(convolution(x, width, 1))
    return x


def max_pool(x, width: int, strides: int = 1):
    """The maximum of 3x3; widened by a 1x1 convolution only where the widths differ."""
    x = keras.layers.MaxPooling2D(3, strides, padding="same")(x)
    return fit_width(x, width)


def average_pool(x, width: int, strides: int = 1):
    """The average of 3x3, without the padding."""
    x = keras.layers.AveragePooling2D(3, strides, padding="same")(x)
    return fit_width(x, width)


def skip_connect(x, width: int, strides: int = 1):
    """The input itself; with strides or another width, `factorized_reduce` or a 1x1 conv."""
    if strides > 1:
        return factorized_reduce(x, width)
    return fit_width(x, width)


def zero(x, width: int, strides: int = 1):
    """Zeros."""
    if strides > 1:
        x = keras.layers.MaxPooling2D(1, strides, padding="same")(x)
    if x.shape[-1] == width:
        return zeros_like(x)
    return keras.layers.Conv2D(
        width, 1, use_bias=False, kernel_initializer="zeros", trainable=False
    )(x)


def zeros_like(x):
    """Zeros of the shape of a tensor."""
    return keras.layers.Rescaling(0.0)(x)


def fit_width(x, width: int):
    """The tensor itself if it has `width` channels, else ReLU, 1x1 convolution, batch norm."""
    return x if x.shape[-1] == width else relu_conv_bn(x, width, kernel_size=1)


def factorized_reduce(x, width: int):
    """Halve the sides without losing pixels: two strided 1x1 convolutions, one shifted by 1.

    References
    ----------
    Zoph et al., "Learning Transferable Architectures for Scalable Image Recognition", 2018,
    appendix A.1.
    """
    x = keras.layers.Activation("relu")(x)
    odd = [int(side % 2) for side in x.shape[1:3]]
    shifted = keras.layers.ZeroPadding2D(((0, odd[0]), (0, odd[1])))(x) if any(odd) else x
    shifted = keras.layers.Cropping2D(((1, 0), (1, 0)))(shifted)
    halves = [
        convolution(x, width // 2, 1, strides=2),
        convolution(shifted, width - width // 2, 1, strides=2),
    ]
    return batch_norm(keras.layers.Concatenate()(halves))


def _of_size(operation, kernel_size: int) -> CellOp:
    def sized(x, width: int, strides: int = 1):
        return operation(x, width, strides, kernel_size=kernel_size)

    return sized


CELL_OPS: dict[str, CellOp] = {
    "none": zero,
    "skip_connect": skip_connect,
    "max_pool_3x3": max_pool,
    "avg_pool_3x3": average_pool,
    "conv_1x1": _of_size(relu_conv_bn, 1),
    "conv_3x3": _of_size(relu_conv_bn, 3),
    "conv_5x5": _of_size(relu_conv_bn, 5),
    "sep_conv_3x3": _of_size(separable_conv, 3),
    "sep_conv_5x5": _of_size(separable_conv, 5),
    "dil_conv_3x3": _of_size(dilated_conv, 3),
    "dil_conv_5x5": _of_size(dilated_conv, 5),
    "nor_conv_1x1": _of_size(relu_conv_bn, 1),
    "nor_conv_3x3": _of_size(relu_conv_bn, 3),
}
"""The known operations by name; "nor_conv" is what NAS-Bench-201 calls a "conv"."""
