"""What proxies share: the gradient of one batch in the kernels of a network."""

from __future__ import annotations

from autokit._backend import keras, tf
from autokit.nas.evaluators.proxies.forward import forward
from autokit.training import Batch


def is_kernel(variable) -> bool:
    """Whether a variable multiplies inputs: no bias, no scale or offset of a normalisation."""
    return len(variable.shape) >= 2


def kernel_gradients(
    model: keras.Model, batch: Batch, loss: keras.losses.Loss
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Each kernel and the gradient of the batch's mean loss in it.

    Batch normalisation uses the statistics of the batch.
    """
    kernels = [v.value for v in model.trainable_variables if is_kernel(v)]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(kernels)
        value = loss(batch.y, forward(model, tf.constant(batch.x)))
    gradients = tape.gradient(value, kernels, unconnected_gradients="zero")
    return list(zip(kernels, gradients, strict=True))
