"""Which network an input gets when none is given."""

from __future__ import annotations

import pytest

from autokit._backend import keras
from autokit.layers import default_model


@pytest.mark.parametrize(
    ("kind", "shape", "layer"),
    [
        ("table", (5,), keras.layers.Dense),
        ("image", (8, 8), keras.layers.Conv2D),
        ("image", (28, 28, 3), keras.layers.Conv2D),
        ("image", (4, 4, 1), keras.layers.Flatten),
        ("sequence", (20, 3), keras.layers.Conv1D),
        ("array", (4, 3, 2, 2), keras.layers.Flatten),
    ],
)
def test_network_by_input(kind, shape, layer):
    model = default_model(kind, shape, 3, "softmax")
    assert any(isinstance(found, layer) for found in model.layers)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, 3)
