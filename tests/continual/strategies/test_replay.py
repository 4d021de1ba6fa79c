"""Replay: its loss against NumPy, its first experience against plain training."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.continual import ERACE, ContinualModel, DERPlusPlus, Naive, Replay


@pytest.mark.parametrize("n_before", [1, 2, 9])
def test_the_batch_weighs_as_one_experience_of_all(open_step, n_before):
    step = open_step(n_before=n_before)
    n = n_before + 1
    loss, gradients = step.result(Replay())
    expected = step.batch_loss() / n + (1 - 1 / n) * step.memory_loss()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert not gradients[1][6:].any()  # units not in use


def test_without_a_memory_the_batch_is_everything(open_step):
    step = open_step(n_before=3, has_memory=0.0)
    loss, gradients = step.result(Replay())
    plain, plain_gradients = step.result(Naive())
    assert loss == plain == pytest.approx(step.batch_loss(), rel=1e-5)
    for a, b in zip(gradients, plain_gradients, strict=True):
        np.testing.assert_array_equal(a, b)


def network(input_shape, n_outputs):
    """With statistics and a random state that memory rows must not touch."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(6, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2, seed=1),
            keras.layers.Dense(n_outputs),
        ]
    )


@pytest.mark.parametrize("strategy", [Replay(), ERACE(), DERPlusPlus()])
def test_the_first_experience_is_plain_training_bit_for_bit(strategy):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)).astype(np.float32), np.arange(40) % 3

    def learnt(chosen):
        model = ContinualModel(network, strategy=chosen, epochs=3, random_state=0)
        return [v.value.numpy() for v in model.partial_fit(X, y).model_.variables]

    for a, b in zip(learnt(strategy), learnt("naive"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_all_selections_share_a_training():
    assert Replay(select="reservoir").key() == Replay(select="herding").key()


def test_a_wrong_selection_is_named():
    rng = np.random.default_rng(0)
    model = ContinualModel(strategy=Replay(select="newest"))
    with pytest.raises(ValueError, match="'select' parameter of Replay"):
        model.partial_fit(rng.normal(size=(10, 2)), np.arange(10) % 2)
