"""A network as a vector and back."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.federated.weights import WeightLayout, flat_layers
from autokit.testing.federations import (
    normalized_network,
    recurrent_network,
)


def nested():
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    )
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.5)(inner(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.layers[1].layers[0].trainable = False
    return model


@pytest.mark.parametrize("build", [normalized_network, recurrent_network, nested])
def test_vectors_go_there_and_back(build):
    model = build()
    layout = WeightLayout.of(model)
    vector = layout.vector(model)
    assert vector.shape == (layout.size,)
    assert vector.dtype == np.float32
    n_numbers = sum(w.size for w in model.get_weights())
    assert layout.size + len(model.non_trainable_variables) >= layout.n_params
    assert layout.size <= n_numbers
    for array, shape in zip(layout.arrays(vector), layout.shapes, strict=True):
        assert array.shape == shape
    other = np.random.default_rng(0).normal(size=layout.size).astype(np.float32)
    layout.write(model, other)
    np.testing.assert_array_equal(layout.vector(model), other)
    assert layout == WeightLayout.of(keras.models.clone_model(model))


def test_parameters_come_first_and_statistics_after():
    model = normalized_network()
    layout = WeightLayout.of(model)
    assert layout.n_params == sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert layout.size == layout.n_params + 8
    norm = model.layers[1]
    norm.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_array_equal(layout.vector(model)[-8:-4], [1, 2, 3, 4])
    mask = layout.normalization_mask
    assert mask.sum() == 16
    norm.gamma.assign([9.0] * 4)
    norm.beta.assign([9.0] * 4)
    norm.moving_mean.assign([9.0] * 4)
    norm.moving_variance.assign([9.0] * 4)
    assert (layout.vector(model)[mask] == 9).all()


def test_seed_states_are_no_weights_and_frozen_weights_are():
    model = nested()
    layout = WeightLayout.of(model)
    kinds = {str(v.dtype) for v in model.non_trainable_variables}
    assert kinds & {"uint32", "int64"}
    assert layout.n_params == 3 + 3 + 6 + 2
    assert layout.size == layout.n_params + 12 + 3 + 3 + 3  # the frozen layer, moving averages
    assert layout.normalization_mask.sum() == 12
    assert "Dense" in {type(layer).__name__ for layer in flat_layers(model)}


@pytest.mark.parametrize("lead", [(), (5,)])
def test_tensors_are_split_and_joined(lead):
    layout = WeightLayout.of(normalized_network())
    vector = tf.random.stateless_normal([*lead, layout.size], seed=[0, 0])
    params, statistics = layout.split(vector)
    assert [tuple(p.shape) for p in params] == [(*lead, *s) for s in layout.shapes[:6]]
    assert len(statistics) == 2
    joined = layout.join(params, statistics, n_lead=len(lead))
    np.testing.assert_array_equal(tf.reshape(joined, vector.shape), vector)
    parts = layout.split_params(vector[..., : layout.n_params])
    for a, b in zip(parts, params, strict=True):
        np.testing.assert_array_equal(a, b)


def test_half_precision_is_sent_as_float32():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="float16")])
    layout = WeightLayout.of(model)
    vector = layout.vector(model)
    assert vector.dtype == np.float32
    layout.write(model, vector + 1)
    assert str(model.variables[0].dtype) == "float16"
    np.testing.assert_allclose(layout.vector(model), vector + 1, rtol=1e-3)
