"""Layers that compute in floats what an integer network will compute.

Rounding to the grid of the integers is the same as in LiteRT's int8 files: weights symmetric
and narrow, from -127 to 127 times a scale of each output channel; activations asymmetric, 256
steps of one scale a tensor. Gradients pass through the rounding as if it were not there
(Bengio et al. 2013, "straight-through"), and where an activation was clipped they are zero.

References
----------
Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, sections 2.1 and 3. There weights have one scale a tensor.
"""

from __future__ import annotations

from typing import Any

from autokit._backend import keras, tf

ops = keras.ops
PACKAGE = "autokit"
ACTIVATION_BITS = 8


def fake_quantized(kernel: Any, bits: int, axes: tuple[int, ...]) -> Any:
    """Weights on the symmetric, narrow grid of an integer type.

    ``s = max|w| / (2^(bits-1) - 1)`` over all but the channel axes, and ``s * round(w / s)``:
    zeros stay exact zeros.

    Parameters
    ----------
    kernel : tensor
    bits : int
    axes : tuple of int
        The axes that count output channels.

    Returns
    -------
    tensor
        Whose gradient is that of `kernel`.
    """
    others = [i for i in range(len(kernel.shape)) if i not in axes]
    largest = ops.max(ops.abs(kernel), axis=others, keepdims=True)
    # A channel of zeros has no scale of its own.
    scale = ops.where(largest > 0, largest, ops.ones_like(largest)) / (2 ** (bits - 1) - 1)
    return kernel + ops.stop_gradient(ops.round(kernel / scale) * scale - kernel)


class _FakeQuantWeights:
    """What the layers below share: a kernel that is rounded wherever it is used."""

    channel_axes: tuple[int, ...] = (-1,)

    def __init__(self, *args: Any, bits: int = 8, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bits = bits

    def rounded_kernel(self) -> Any:
        """The kernel as it is used, in float32."""
        kernel = ops.cast(self.kernel, "float32")
        axes = tuple(a % len(kernel.shape) for a in self.channel_axes)
        return fake_quantized(kernel, self.bits, axes)

    def call(self, inputs: Any, **kwargs: Any) -> Any:
        # Keras' own computation, on other values of the variables.
        values = [(self.kernel, self.rounded_kernel())]
        if self.bias is not None:
            values.append((self.bias, ops.cast(self.bias, "float32")))
        with keras.StatelessScope(values):
            return super().call(inputs, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Settings of the plain layer, and `bits`."""
        return {**super().get_config(), "bits": self.bits}


@keras.saving.register_keras_serializable(PACKAGE)
class FakeQuantDense(_FakeQuantWeights, keras.layers.Dense):
    """`keras.layers.Dense` with a kernel of `bits` bits."""


@keras.saving.register_keras_serializable(PACKAGE)
class FakeQuantConv1D(_FakeQuantWeights, keras.layers.Conv1D):
    """`keras.layers.Conv1D` with a kernel of `bits` bits."""


@keras.saving.register_keras_serializable(PACKAGE)
class FakeQuantConv2D(_FakeQuantWeights, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a kernel of `bits` bits."""


@keras.saving.register_keras_serializable(PACKAGE)
class FakeQuantDepthwiseConv1D(_FakeQuantWeights, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` with a kernel of `bits` bits."""

    channel_axes = (-2, -1)


@keras.saving.register_keras_serializable(PACKAGE)
class FakeQuantDepthwiseConv2D(_FakeQuantWeights, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with a kernel of `bits` bits."""

    channel_axes = (-2, -1)


FAKE_QUANT_OF = {
    keras.layers.Dense: FakeQuantDense,
    keras.layers.Conv1D: FakeQuantConv1D,
    keras.layers.Conv2D: FakeQuantConv2D,
    keras.layers.DepthwiseConv1D: FakeQuantDepthwiseConv1D,
    keras.layers.DepthwiseConv2D: FakeQuantDepthwiseConv2D,
}
PLAIN_OF = {fake: plain for plain, fake in FAKE_QUANT_OF.items()}


@keras.saving.register_keras_serializable(PACKAGE)
class FakeQuantRange(keras.layers.Layer):
    """Rounds activations to 256 steps of the range that they are found in.

    In training the range follows the smallest and the largest value of each batch as a moving
    average; in inference it stands still. Zero is always a step. The operation is
    TensorFlow's ``FakeQuantWithMinMaxVars``, which the converter reads the range from.

    Parameters
    ----------
    momentum : float in [0, 1), default=0.99
        How much of the range stays in a step.
    fixed : tuple (low, high) or None, default=None
        A range that is known, such as a sigmoid's, and never changes.
    shrinks : bool, default=True
        False holds all that was seen, without an average.
    """

    def __init__(
        self,
        momentum: float = 0.99,
        fixed: tuple[float, float] | None = None,
        shrinks: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.momentum, self.shrinks = momentum, shrinks
        self.fixed = None if fixed is None else tuple(fixed)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        low, high = self.fixed or (-1.0, 1.0)
        self.low, self.high = (
            self.add_weight(
                name=name,
                shape=(),
                initializer=keras.initializers.Constant(value),
                trainable=False,
                dtype="float32",
                autocast=False,
            )
            for name, value in (("low", low), ("high", high))
        )

    def set_range(self, low: float, high: float) -> None:
        """Start from a range; it is widened to hold zero."""
        self.low.assign(min(float(low), 0.0))
        self.high.assign(max(float(high), 0.0, float(low) + 1e-6, 1e-6))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = ops.cast(inputs, "float32")
        if training and self.fixed is None:
            self._follow(self.low, ops.minimum(ops.min(x), 0.0), ops.minimum)
            self._follow(self.high, ops.maximum(ops.max(x), 1e-6), ops.maximum)
        rounded = tf.quantization.fake_quant_with_min_max_vars(
            x, self.low.value, self.high.value, num_bits=ACTIVATION_BITS
        )
        return ops.cast(rounded, self.compute_dtype)

    def _follow(self, variable: Any, seen: Any, wider: Any) -> None:
        seen = ops.stop_gradient(seen)
        if self.shrinks:
            variable.assign(self.momentum * variable + (1.0 - self.momentum) * seen)
        else:
            variable.assign(wider(variable, seen))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """As it came."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Settings that :meth:`from_config` takes."""
        own = {name: getattr(self, name) for name in ("momentum", "fixed", "shrinks")}
        return {**super().get_config(), **own}
