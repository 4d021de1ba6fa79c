"""Batch normalisation that can be told whose statistics it uses: for networks in training.

A network meets its rows in three ways: normalised by moving averages as Keras has it, by the rows'
own statistics, or by statistics that are kept. `with_statistics` copies a network for each.
"""

from __future__ import annotations

from typing import Any

from autokit._backend import keras, tf
from autokit.layers.copies import copied
from autokit.layers.fake_quant import PACKAGE

USUAL, ROWS, KEPT = "usual", "rows", "kept"


@keras.saving.register_keras_serializable(PACKAGE)
class TaskNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the same variables, and a say in its statistics.

    Parameters
    ----------
    statistics : {"usual", "rows", "kept"}, default="usual"
        "usual": of the rows in training, and moving averages of them otherwise. Images in float32
        take TensorFlow's fused kernel, in half the time; it knows no gradient of the statistics
        themselves. "rows": always of the rows at hand, which become the moving averages at once,
        and are differentiated, twice if need be. "kept": always the moving averages.
    **options
        Of Keras' layer.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.layers.task_norm import TaskNormalization
    >>> layer = TaskNormalization(statistics="rows")
    >>> layer(np.float32([[1.0], [3.0]]), training=False).numpy().round(2).ravel().tolist()
    [-1.0, 1.0]
    >>> layer.moving_mean.numpy().tolist()
    [2.0]
    """

    def __init__(self, *, statistics: str = USUAL, **options):
        if statistics == ROWS:
            options["momentum"] = 0.0
        super().__init__(**options)
        self.statistics = statistics

    def call(self, inputs, training=None, mask=None):
        training = {ROWS: True, KEPT: False}.get(self.statistics, training)
        if training and self.statistics == USUAL and mask is None and self._has_kernel(inputs):
            return self._fused(inputs)
        return super().call(inputs, training=training, mask=mask)

    def _moments(self, inputs, mask):
        if self.statistics != ROWS or mask is not None or self.synchronized:
            return super()._moments(inputs, mask)
        # tf.nn.moments takes the mean in the variance for a constant: right for a gradient, but
        # not for the gradient through that gradient
        axes = self._reduction_axes
        mean = tf.reduce_mean(inputs, axes, keepdims=True)
        return tf.squeeze(mean, axes), tf.reduce_mean(tf.square(inputs - mean), axes)

    def get_config(self):
        return {**super().get_config(), "statistics": self.statistics}

    def _has_kernel(self, inputs) -> bool:
        return (
            len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and self.trainable
            and self.compute_dtype == "float32"
            and not getattr(self, "renorm", False)
        )

    def _fused(self, inputs):
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        # the kernel's variance is the unbiased one; Keras averages that of the rows
        n = tf.cast(tf.size(inputs) / tf.shape(inputs)[3], tf.float32)
        variance *= (n - 1.0) / n
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1.0 - self.momentum))
        return outputs


def normalises(model: keras.Model) -> bool:
    """Whether a network has batch normalisation anywhere."""
    return any(isinstance(x, keras.layers.BatchNormalization) for x in model._flatten_layers())


def with_statistics(model: keras.Model, statistics: str) -> keras.Model:
    """A network whose batch normalisation uses the statistics that are named.

    Parameters
    ----------
    model : keras.Model
        Built; it describes itself by ``get_config``.
    statistics : {"usual", "rows", "kept"}
        See `TaskNormalization`.

    Returns
    -------
    keras.Model
        With the same variables in the same order, of its own: made for ``stateless_call``. The
        model itself if it normalises nothing.
    """
    config = model.get_config()
    changed = _changed(config, statistics)
    if changed == config:
        return model
    return copied(model, changed)


def _changed(config: Any, statistics: str) -> Any:
    if isinstance(config, list | tuple):
        return type(config)(_changed(part, statistics) for part in config)
    if not isinstance(config, dict):
        return config
    changed = {key: _changed(value, statistics) for key, value in config.items()}
    if config.get("class_name") == "BatchNormalization" and "config" in config:
        changed |= {
            "module": __name__,
            "class_name": TaskNormalization.__name__,
            "registered_name": f"{PACKAGE}>{TaskNormalization.__name__}",
            "config": changed["config"] | {"statistics": statistics},
        }
    return changed
