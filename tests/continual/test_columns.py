from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.continual.columns import heads_of, n_params, with_columns
from autokit.continual.network import with_units
from autokit.layers import cnn, copied
from autokit.training import seeded

layers = keras.layers


def _mlp():
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(4, use_bias=False, name="a"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("relu", name="relu"),
            layers.Dropout(0.5, name="dropout"),
            layers.Dense(3, activation="tanh", name="b"),
            layers.Dense(2, name="c"),
        ]
    )


def _strided():
    return keras.Sequential(
        [
            keras.Input((9, 9, 1)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="same"),
            layers.Conv2D(6, 3, strides=2, activation="relu", name="valid"),
            layers.Conv2D(4, 3, padding="same", groups=2, name="grouped"),
            layers.Flatten(name="flatten"),
            layers.Dense(2, name="c"),
        ]
    )


def _branching():
    return cnn((8, 8), 2, stem_width=4, widths=(4, 6), dropout=0.2)


def _sequence():
    inputs = keras.Input((6, 2))
    x = layers.Conv1D(3, 3, padding="causal", activation="relu")(inputs)
    x = layers.GRU(4, dropout=0.5)(x)
    return keras.Model(inputs, layers.Dense(2)(x * 2.0))


def _normalized():
    normalization = layers.Normalization(name="scale")
    normalization.adapt(np.random.default_rng(0).normal(3.0, 2.0, (50, 5)))
    inputs = keras.Input((5,))
    x = layers.Dense(4, activation="relu", name="a")(normalization(inputs))
    return keras.Model(inputs, layers.Dense(2, name="c")(x))


def _grown(build, n_columns=2):
    """A network of random weights whose columns came one by one, and the one before the last."""
    with seeded(0):
        network = build()
    rng, former = np.random.default_rng(0), None
    for number in range(1, n_columns):
        _randomized(network, rng)
        former = network
        network = with_columns(network, [2] * (number + 1), np.arange(2 * number), number)
    return network, former


def _randomized(network, rng):
    for variable in network.trainable_variables:
        variable.assign(rng.normal(size=variable.shape) / np.sqrt(variable.shape[0]))


def _rows(network, n_rows=7):
    shape = (n_rows, *network.input_shape[1:])
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("build", [_mlp, _strided, _branching, _sequence, _normalized])
def test_old_outputs_are_bit_identical_and_saved_networks_grow_on(build):
    network, former = _grown(build, 3)
    rows = _rows(network)
    _randomized(network, np.random.default_rng(2))
    answer = network(rows).numpy()
    assert answer.shape == (7, 6)
    np.testing.assert_array_equal(answer[:, :4], former(rows).numpy())
    again = with_columns(copied(network), [2] * 4, np.arange(6), 9)
    np.testing.assert_array_equal(again(rows).numpy()[:, :6], answer)


def test_columns_hear_all_before_them():
    network, _ = _grown(_mlp, 3)
    _randomized(network, np.random.default_rng(2))
    rows = _rows(network)
    values = {v.path: v.value.numpy() for v in network.variables}
    hidden: list[list[np.ndarray]] = []
    for k in range(3):
        own = f"column{k}_" if k else ""
        place = own + "norm"
        a = rows @ values[f"{own}a/kernel"]
        a = (a - values[f"{place}/moving_mean"]) / np.sqrt(
            values[f"{place}/moving_variance"] + 1e-3
        )
        a = np.maximum(a * values[f"{place}/gamma"] + values[f"{place}/beta"], 0.0)
        u = np.split(values[f"{own}b/kernel"], k + 1)  # its own, then column 0's, 1's, ...
        b = a @ u[0] + sum(h[0] @ u[1 + j] for j, h in enumerate(hidden))
        b = np.tanh(b + values[f"{own}b/bias"])
        u = np.split(values[f"{own}c/kernel"], k + 1)
        c = b @ u[0] + sum(h[1] @ u[1 + j] for j, h in enumerate(hidden))
        hidden.append([a, b])
        expected = c + values[f"{own}c/bias"]
        np.testing.assert_allclose(heads_output(network, rows, k), expected, rtol=1e-4, atol=1e-5)


def heads_output(network, rows, column):
    return network(rows).numpy()[:, 2 * column : 2 * column + 2]


def test_parameters_of_a_column_are_its_own_and_lateral_ones():
    network, _ = _grown(_mlp, 3)
    own = 5 * 4 + 4 * 4 + (4 * 3 + 3) + (3 * 2 + 2)
    lateral = 4 * 3 + 3 * 2
    assert n_params(network).tolist() == [own, own + lateral, own + 2 * lateral]
    assert n_params(_mlp()).tolist() == [own]


def test_a_new_column_begins_as_if_alone():
    network, _ = _grown(_mlp)
    for name, width in (("b", 4), ("c", 3)):
        own, lateral = np.split(network.get_layer(f"column1_{name}").kernel.value.numpy(), 2)
        assert len(own) == width
        assert (lateral == 0).all()
        assert (own != 0).all()
        # drawn for its own inputs, as if there were no others
        limit = np.sqrt(6.0 / sum(own.shape))
        assert np.abs(own).max() <= limit
    first, second = network.get_layer("a"), network.get_layer("column1_a")
    assert first.kernel.shape == second.kernel.shape
    assert not np.array_equal(first.kernel.value.numpy(), second.kernel.value.numpy())


def test_convolutions_hear_too_but_not_in_groups():
    network, _ = _grown(_strided)
    widths = {n: network.get_layer(f"column1_{n}").kernel.shape[-2] for n in ("same", "valid")}
    assert widths == {"same": 1, "valid": 8}
    assert network.get_layer("column1_grouped").kernel.shape == (3, 3, 3, 4)


def test_layers_called_twice_hear_no_others():
    inputs = keras.Input((4,))
    twice = layers.Dense(4, activation="relu", name="twice")
    x = layers.Dense(4, name="a")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="c")(twice(twice(x))))
    network = with_columns(model, [2, 2], np.arange(2), 0)
    assert network.get_layer("column1_twice").kernel.shape == (4, 4)
    assert network.get_layer("column1_c").kernel.shape == (8, 2)


def test_only_the_last_column_learns_and_draws_at_random():
    network, _ = _grown(_mlp, 3)
    assert all(v.path.startswith("column2_") for v in network.trainable_variables)
    names = ("dropout", "column1_dropout", "column2_dropout")
    assert [network.get_layer(n).rate for n in names] == [0.0, 0.0, 0.5]
    rows = _rows(network)
    trained, rested = network(rows, training=True).numpy(), network(rows).numpy()
    np.testing.assert_array_equal(trained[:, :4], rested[:, :4])
    assert not np.array_equal(trained[:, 4:], rested[:, 4:])


def test_what_no_column_trains_is_the_same_in_all():
    network, _ = _grown(_normalized, 3)
    means = [network.get_layer(n).mean.numpy() for n in ("scale", "column1_scale", "column2_scale")]
    np.testing.assert_array_equal(means[0], means[2])
    # and what sees it alone hears no other column
    shapes = [network.get_layer(f"column2_{name}").kernel.shape for name in ("a", "c")]
    assert shapes == [(5, 4), (12, 2)]


def test_the_last_column_gets_more_units():
    network, _ = _grown(_mlp)
    _randomized(network, np.random.default_rng(3))
    places = np.array([0, 1, 3, 4])
    wide = with_columns(network, [2, 4], places, 7)
    rows = _rows(network)
    np.testing.assert_array_equal(wide(rows).numpy()[:, places], network(rows).numpy())
    first = with_columns(_mlp(), [3], np.array([0, 2]), 7)
    assert first.output_shape == (None, 3)
    assert len(heads_of(first)) == 1


def test_the_part_of_a_task_leaves_later_columns_out():
    network, _ = _grown(_mlp, 3)
    part = with_units(network, np.array([2, 3]))
    rows = _rows(network)
    np.testing.assert_array_equal(part(rows).numpy(), heads_output(network, rows, 1))
    assert not [layer.name for layer in part.layers if layer.name.startswith("column2")]
