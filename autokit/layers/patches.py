"""Convolution as a multiplication of matrices."""

from __future__ import annotations

import math

from autokit._backend import keras, tf


@keras.saving.register_keras_serializable("autokit")
class PatchConv2D(keras.layers.Conv2D):
    """A convolution whose patches are laid out as rows of a matrix.

    Equal to ``Conv2D`` up to rounding. Networks with different kernels can be stacked: one
    multiplication of stacked matrices then does for all of them, where ``Conv2D`` takes one
    kernel at a time.

    Takes what ``Conv2D`` takes, without groups and dilation.
    """

    def convolution_op(self, inputs, kernel):
        (rows, columns), (down, right) = self.kernel_size, self.strides
        height, width = inputs.shape[1:3]
        if self.padding == "same":
            top = _padding(height, rows, down)
            left = _padding(width, columns, right)
            inputs = tf.pad(inputs, [[0, 0], top, left, [0, 0]])
            height, width = inputs.shape[1:3]
        out_height, out_width = (height - rows) // down + 1, (width - columns) // right + 1
        taps = [
            inputs[
                :,
                i : i + down * (out_height - 1) + 1 : down,
                j : j + right * (out_width - 1) + 1 : right,
                :,
            ]
            for i in range(rows)
            for j in range(columns)
        ]
        patches = tf.concat(taps, axis=-1)
        n_taps = patches.shape[-1]
        flat = tf.reshape(patches, (-1, n_taps)) @ tf.reshape(kernel, (n_taps, self.filters))
        return tf.reshape(flat, (-1, out_height, out_width, self.filters))


def _padding(size: int, kernel: int, stride: int) -> list[int]:
    """Zeros before and behind, as TensorFlow's "same" has them."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return [total // 2, total - total // 2]
