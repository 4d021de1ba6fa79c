"""Which weights are kernels, and which of their axes are inputs."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.compression.kernels import Kernel, select_kernels

L = keras.layers


def chosen(shape, *layers, pick=lambda layer: True):
    return select_kernels(keras.Sequential([keras.Input(shape), *layers]), pick).kernels


@pytest.mark.parametrize(
    ("shape", "layer", "n_in", "n_out"),
    [
        ((6,), L.Dense(4), [6], [4]),
        ((5, 5, 6), L.Conv2D(4, 3), [6], [4]),
        ((5, 6), L.Conv1DTranspose(4, 3), [6], [4]),
        ((5, 5, 6), L.SeparableConv2D(4, 3, depth_multiplier=2), [12], [4]),
        ((5, 5, 6), L.DepthwiseConv2D(3), [1], [1]),
        ((5, 6), L.LSTM(4), [6, 4], [16, 16]),
        ((5, 6), L.Bidirectional(L.GRU(4)), [6, 4, 6, 4], [12] * 4),
        ((3, 5, 5, 6), L.ConvLSTM2D(4, 3), [6, 4], [16, 16]),
        ((5, 6), L.TimeDistributed(L.Dense(4)), [6], [4]),
        ((5, 6), L.EinsumDense("abc,cde->abde", (5, 2, 4)), [6], [8]),
        ((5, 6), L.EinsumDense("abc,bcd->ad", (4,)), [30], [4]),
        ((5, 6), L.EinsumDense("abc,bcd->abd", (5, 4)), [6], [4]),
        ((5, 6), L.EinsumDense("...x,xy->...y", (4,)), [6], [4]),
    ],
)
def test_inputs_and_outputs_of_each_type(shape, layer, n_in, n_out):
    found = chosen(shape, layer)
    assert [k.n_in for k in found] == n_in
    assert [k.n_out for k in found] == n_out


def test_a_column_holds_the_inputs_of_one_output():
    value = np.arange(2 * 3 * 4 * 5, dtype="float32").reshape(2, 3, 4, 5)
    conv = Kernel(0, "conv", value.shape, (2,), (3,))
    folded = conv.fold(value).numpy()
    assert folded.shape == (4, 2 * 3 * 5)
    np.testing.assert_array_equal(folded[:, 0], value[0, 0, :, 0])
    np.testing.assert_array_equal(folded[:, -1], value[1, 2, :, 4])
    transposed = Kernel(0, "transposed", value.shape, (3,), (2,))
    np.testing.assert_array_equal(transposed.fold(value).numpy()[:, 1], value[0, 0, 1, :])
    joined = Kernel(0, "attention", value.shape, (0, 3), (1, 2))
    assert joined.fold(value).shape == (10, 12)
    for kernel in (conv, transposed, joined):
        np.testing.assert_array_equal(kernel.unfold(kernel.fold(value)), value)


def test_a_composed_layer_stands_for_what_is_in_it():
    inputs = keras.Input((5, 12))
    model = keras.Model(
        inputs, L.Dense(3)(L.MultiHeadAttention(2, 6, name="heads")(inputs, inputs))
    )
    found = select_kernels(model, lambda layer: layer.name == "heads").kernels
    assert len(found) == 4 and all("heads" in k.path for k in found)
    one = select_kernels(model, lambda layer: layer.path.endswith("heads/query")).kernels
    assert [k.path for k in one] == ["heads/query/kernel"]


def test_frozen_and_unknown_weights_are_not_chosen():
    layers = [L.Dense(40, name="first"), L.BatchNormalization(), L.PReLU(), L.Dense(40)]
    model = keras.Sequential([keras.Input((40,)), *layers])
    assert len(select_kernels(model).kernels) == 2
    layers[0].trainable = False
    assert [k.shape for k in select_kernels(model, lambda layer: True).kernels] == [(40, 40)]
    with pytest.raises(ValueError, match="chose no layer with a trainable kernel"):
        select_kernels(model, lambda layer: layer.name == "first")


def test_a_shared_layer_is_chosen_once():
    shared = L.Dense(30)
    inputs = keras.Input((30,))
    model = keras.Model(inputs, shared(shared(inputs)))
    assert len(select_kernels(model).kernels) == 1
