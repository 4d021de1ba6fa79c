from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.layers import copied
from autokit.layers.graphs import Copies, graph_of, rebuilt

L = keras.layers
rng = np.random.default_rng(0)


def _nested():
    inputs = keras.Input((6,))
    inner = keras.Sequential([keras.Input((6,)), L.Dense(5, activation="relu"), L.Dense(6)])
    shared = L.Dense(6)
    a, b = keras.Input((6,)), keras.Input((6,))
    pair = keras.Model([a, b], [L.Add()([a, b]), L.Subtract()([a, b])])
    x = L.Normalization(mean=0.3, variance=2.0)(inputs)
    plus, minus = pair([inner(x), shared(x)])
    return keras.Model(inputs, [shared(plus), L.Multiply()([minus, plus])])


def test_a_copy_of_all_calls_is_the_same_function():
    model = _nested()
    graph = graph_of(copied(model))
    again = rebuilt(graph, Copies().emit)
    x = rng.normal(size=(4, 6)).astype("float32")
    for ours, theirs in zip(again(x), model(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    names = [layer.name for layer in again.layers]
    assert len(names) == len(set(names))
    assert not any(isinstance(layer, keras.Model) for layer in again.layers)


def test_a_graph_knows_who_takes_what():
    model = _nested()
    graph = graph_of(model)
    shared = next(c.layer for c in graph.calls if not graph.is_called_once(c.layer))
    assert sum(c.layer is shared for c in graph.calls) == 2
    added = next(c for c in graph.calls if isinstance(c.layer, L.Add))
    assert graph.sole_consumer(added) is None
    assert len(graph.consumers(added.outputs)) == 2
    assert graph.is_output(graph.calls[-1])
    assert not graph.is_output(added)


def test_a_model_of_its_own_code_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    model = Own()
    model.build((None, 3))
    with pytest.raises(ValueError, match="functional API"):
        graph_of(model)
