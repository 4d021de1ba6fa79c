"""Answers that are not compiled."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.training import predict, seeded
from autokit.training.forward import CHUNK_ROWS, answers


@pytest.mark.parametrize("n_rows", [0, 3, CHUNK_ROWS + 5])
def test_answers_equal_those_of_the_compiled_forward_pass(n_rows):
    with seeded(0):
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)]
        )
    rows = np.random.default_rng(0).normal(size=(n_rows, 2)).astype(np.float32)
    found = answers(model, rows)
    assert found.shape == (n_rows, 3)
    np.testing.assert_allclose(found, predict(model, rows), atol=1e-6)
