"""Shapes of optimizers, remembered, against optimizers that are built."""

from __future__ import annotations

import pytest

from autokit._backend import keras
from autokit.continual.widths import optimizer_shapes
from autokit.training import FitConfig
from autokit.training.fit_loop import make_optimizer

SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)


@pytest.mark.parametrize(
    "config",
    [
        FitConfig(optimizer="adam"),
        FitConfig(optimizer="sgd"),
        FitConfig(optimizer="sgd", learning_rate=SCHEDULE),
        FitConfig(optimizer=keras.optimizers.SGD(0.1)),
        FitConfig(optimizer=keras.optimizers.SGD(0.1, momentum=0.9)),
        FitConfig(optimizer=keras.optimizers.SGD(SCHEDULE, momentum=0.9)),
    ],
)
def test_shapes_are_those_of_a_built_optimizer(config):
    for n_units in (3, 4):
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(n_units)])
        optimizer = make_optimizer(config)
        optimizer.build(network.trainable_variables)
        expected = [tuple(v.shape) for v in optimizer.variables]
        assert optimizer_shapes(network, config) == expected
        assert optimizer_shapes(network, config) == expected
