"""A toy space in which one operation is clearly right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.nas import Supernet, Task
from autokit.nas.oneshot.supernet import mixture_inputs
from autokit.training import Batch

OPERATIONS = ("none", "skip_connect", "avg_pool_3x3", "conv")


class ToySupernet(Supernet):
    def discretise(self, mixture):
        return self.architecture(np.argmax(mixture[:, 1:], axis=1) + 1)

    def choices(self, architecture):
        return np.array([OPERATIONS.index(op) for op in architecture], "int32")

    def architecture(self, decisions):
        return tuple(OPERATIONS[int(i)] for i in decisions)

    def route(self, decisions):
        return tf.identity(decisions)


def layers():
    convolution = keras.layers.Conv2D(4, 3, activation="relu", padding="same")
    pool = keras.layers.AveragePooling2D(3, 1, padding="same")
    return [None, keras.layers.Identity(), pool, convolution]


@dataclass(frozen=True)
class StripesSpace:
    """Operations in a row, then the mean of each channel: linear without a convolution."""

    n_edges: int

    def sample(self, rng):
        return tuple(OPERATIONS[i] for i in rng.integers(len(OPERATIONS), size=self.n_edges))

    def _network(self, rows, n_outputs, activation, edge):
        x = keras.layers.Concatenate()([rows] * 4)
        for number in range(self.n_edges):
            x = edge(number, x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.layers.Dense(n_outputs, activation=activation)(x)

    def build(self, architecture, input_shape, n_outputs, output_activation):
        def edge(number, x):
            layer = dict(zip(OPERATIONS, layers(), strict=True))[architecture[number]]
            return keras.layers.Rescaling(0.0)(x) if layer is None else layer(x)

        rows = keras.Input(input_shape)
        return keras.Model(rows, self._network(rows, n_outputs, output_activation, edge))

    def supernet(self, input_shape, n_outputs, output_activation):
        rows, mixture, mixed = mixture_inputs(input_shape, self.n_edges, len(OPERATIONS))
        outputs = self._network(
            rows, n_outputs, output_activation, lambda number, x: mixed(number, x, layers())
        )
        return ToySupernet(
            keras.Model([rows, mixture], outputs),
            OPERATIONS,
            tuple((i,) for i in range(self.n_edges)),
            (len(OPERATIONS),) * self.n_edges,
            skip=1,
            none=0,
        )


def stripes(n, rng):
    """Stripes across or down; their phase is random, so that their mean tells nothing."""
    y = rng.integers(2, size=n).astype("int32")
    wave = np.where(rng.integers(2, size=(n, 1, 1)), 1, -1) * (-1.0) ** np.arange(6)[None, :, None]
    x = np.broadcast_to(wave, (n, 6, 6))
    x = np.where(y[:, None, None], x, x.transpose(0, 2, 1))
    noise = rng.normal(scale=0.1, size=(n, 6, 6))
    return Batch((x + noise)[..., None].astype("float32"), y)


@pytest.fixture
def space():
    return StripesSpace(1)


@pytest.fixture
def deep_space():
    return StripesSpace(2)


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    rows = stripes(256, rng), stripes(64, rng)
    return Task(*rows, (6, 6, 1), 2, "softmax", "sparse_categorical_crossentropy")
