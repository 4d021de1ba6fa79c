"""Chains of strategies against the strategies by themselves."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.continual import EWC, SI, ContinualModel, Naive, chain


def linear(input_shape, n_outputs):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(n_outputs)])


def learnt(strategy):
    """Three tasks learnt, as weights and state."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)).astype(np.float32)
    model = ContinualModel(
        linear, strategy, scenario="task", epochs=3, validation_fraction=0.0, random_state=0
    )
    for task in range(3):
        model.partial_fit(X, (X[:, task] > 0).astype(int), task=task)
    return [v.numpy() for v in model._learnt.network.variables], model._learnt.state


@pytest.mark.parametrize(
    "chained",
    [chain("naive", "naive"), chain(EWC(strength=0.0), SI(strength=0.0))],
    ids=["naive", "strength 0"],
)
def test_a_chain_of_nothing_is_naive_bit_for_bit(chained):
    for a, b in zip(learnt(chained)[0], learnt(Naive())[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_chain_of_one_and_nothing_is_that_one_bit_for_bit():
    values, states = learnt(chain(SI(strength=50.0), EWC(strength=0.0)))
    alone, state = learnt(SI(strength=50.0))
    for name in ("anchor", "weight"):
        values, alone = values + states["0"][name], alone + state[name]
    for a, b in zip(values, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_penalties_of_a_chain_add_up():
    values, states = learnt(chain(EWC(strength=100.0), EWC(strength=400.0)))
    alone, state = learnt(EWC(strength=500.0))
    for a, b in zip(values, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    for a, b, whole in zip(
        states["0"]["weight"], states["1"]["weight"], state["weight"], strict=True
    ):
        np.testing.assert_allclose(a + b, whole, rtol=1e-2, atol=1e-4)


def test_each_part_is_searched_under_its_place():
    chained = chain("ewc", "si").set_params(**{"0__strength": 3.0, "1__damping": 0.5})
    assert (chained.strategies[0].strength, chained.strategies[1].damping) == (3.0, 0.5)
    assert chained.get_params()["0__strength"] == 3.0


@pytest.mark.parametrize(
    ("strategies", "message"),
    [
        (("ewc",), "two strategies or more; got 1"),
        (("ewc", "none"), "must be one of"),
        (("ewc", chain("si", "replay")), "cannot combine Chain"),
    ],
)
def test_a_chain_says_what_it_cannot_do(strategies, message):
    with pytest.raises(ValueError, match=message):
        chain(*strategies)
