from __future__ import annotations

import pytest

from autokit._backend import keras, tf
from autokit.layers import cnn, mlp, sequence
from autokit.layers.cells import CELL_OPS
from autokit.nas import CNNSpace, NB201Space
from autokit.nas.hardware import count_flops, count_macs, peak_activation_bytes

L = keras.layers


def profiled(model):
    """What TensorFlow's profiler counts in the whole model."""

    def forward(x):
        return model(x, training=False)

    spec = tf.TensorSpec((1, *model.input_shape[1:]))
    graph = tf.function(forward, autograph=False).get_concrete_function(spec).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


def model_of(*layers, shape=(9, 8, 4)):
    return keras.Sequential([keras.Input(shape), *layers])


def all_cell_ops(strides, side, without=""):
    inputs = keras.Input((side, side, 6))
    ops = [op for name, op in CELL_OPS.items() if not without or without not in name]
    states = [op(inputs, 8, strides) for op in ops]
    return keras.Model(inputs, L.Add()(states))


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("activation", ["relu", "selu", "gelu", "silu"])
def test_perceptrons_count_as_the_profiler_says(norm, activation):
    model = mlp((5,), 3, output_activation="softmax", widths=(8, 4), normalization=norm,
                activation=activation, residual=True, dropout=0.2)  # fmt: skip
    assert count_flops(model) == profiled(model)


@pytest.mark.parametrize("block", CNNSpace().blocks)
def test_convolutional_networks_count_as_the_profiler_says(block):
    model = cnn((9, 8), 3, output_activation="softmax", widths=(8, 12), block=block)
    assert count_flops(model) == profiled(model)


def test_sequences_count_as_the_profiler_says():
    model = sequence((20, 3), 4)
    assert count_flops(model) == profiled(model)


@pytest.mark.parametrize("strides", [1, 2])
def test_the_operations_of_cells_count_as_the_profiler_says(strides):
    for model in (all_cell_ops(strides, 8), all_cell_ops(strides, 9, without="dil")):
        assert count_flops(model) == profiled(model)


def test_a_network_of_nas_bench_201_counts_as_the_profiler_says():
    space = NB201Space(n_cells=1, width=4)
    model = space.build(space.default, (8, 8), 3, "softmax")
    assert count_flops(model) == profiled(model)


@pytest.mark.parametrize(
    "layers",
    [
        [L.Conv2D(6, (3, 2), strides=2, activation="gelu")],
        [L.DepthwiseConv2D(3, depth_multiplier=2)],
        [L.SeparableConv2D(6, 3, depth_multiplier=2, activation="sigmoid")],
        [L.BatchNormalization(center=False)],
        [L.BatchNormalization(scale=False), L.LeakyReLU()],
        [L.Dense(3, use_bias=False), L.Softmax()],
        [L.Conv2DTranspose(3, 2), L.UnitNormalization()],
        [L.UpSampling2D(), L.GroupNormalization(2), L.PReLU(), L.Activation("mish")],
        [L.Flatten(), L.Reshape((-1, 2)), L.MaxPooling1D(3), L.Conv1D(4, 3, dilation_rate=2)],
    ],
)
def test_layers_count_as_the_profiler_says_known_or_not(layers):
    model = model_of(*layers)
    assert count_flops(model) == profiled(model)


def test_a_nested_model_counts_its_layers():
    inner = model_of(L.Conv2D(4, 3, padding="same"), L.ReLU())
    outer = model_of(inner, inner, L.Flatten(), L.Dense(2))
    assert count_flops(outer) == profiled(outer) == 2 * count_flops(inner) + (2 * 288 + 1) * 2


def test_a_model_of_its_own_code_is_profiled():
    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(4)

        def call(self, x):
            return self.dense(self.dense(x))

    model = Twice()
    with pytest.raises(ValueError, match="must be built"):
        count_flops(model)
    model(tf.zeros((1, 4)))
    assert count_flops(model) == 2 * (2 * 4 * 4 + 4)
    with pytest.raises(ValueError, match="Functional or Sequential"):
        peak_activation_bytes(model)
    with pytest.raises(ValueError, match="Use count_flops"):
        count_macs(model)


def test_counting_leaves_no_trace_in_the_model():
    model = mlp((4,), 2, normalization="layer")
    before = [len(layer._inbound_nodes) for layer in model.layers]
    count_flops(model)
    peak_activation_bytes(model)
    assert [len(layer._inbound_nodes) for layer in model.layers] == before


def test_grouped_and_dilated_convolutions_count_the_outputs_that_they_have():
    grouped = model_of(L.Conv2D(6, 3, groups=2, padding="same"))
    assert count_flops(grouped) == 9 * 8 * 6 * (2 * 3 * 3 * 2 + 1)
    dilated = model_of(L.DepthwiseConv2D(3, dilation_rate=2, padding="same", use_bias=False))
    assert count_flops(dilated) == 9 * 8 * 4 * 2 * 3 * 3


def test_multiplications_of_a_convolution_by_hand():
    model = model_of(L.Conv2D(6, 3, strides=2, padding="same"))
    assert count_macs(model) == 5 * 4 * 6 * (3 * 3 * 4 + 1)


def test_a_chain_holds_a_layers_input_and_output():
    model = model_of(L.Dense(10), L.BatchNormalization(), L.ReLU(), L.Dense(30), L.Dense(2),
                     shape=(5,))  # fmt: skip
    assert peak_activation_bytes(model) == 4 * (10 + 30)


def test_a_shortcut_is_held_until_it_is_added():
    inputs = keras.Input((10,))
    h = L.Dense(40)(inputs)
    h = L.Dense(10)(h)
    model = keras.Model(inputs, L.Add()([inputs, h]))
    assert peak_activation_bytes(model) == 4 * (10 + 40 + 10)


def test_an_activation_needs_room_of_its_own_if_its_input_is_needed_later():
    inputs = keras.Input((10,))
    h = L.Dense(20)(inputs)
    model = keras.Model(inputs, L.Concatenate()([h, L.ReLU()(h)]))
    assert peak_activation_bytes(model) == 4 * (20 + 20 + 40)


def test_a_nested_model_holds_what_its_layers_hold():
    flat = model_of(L.Dense(10), L.Dense(30), L.ReLU(), L.Dense(2), shape=(5,))
    inner = model_of(L.Dense(30), L.ReLU(), shape=(10,))
    nested = model_of(L.Dense(10), inner, L.Dense(2), shape=(5,))
    assert peak_activation_bytes(nested) == peak_activation_bytes(flat) == 4 * 40
