"""What every proxy must keep, then an oracle for each."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.nas import CNNSpace, MLPArchitecture, MLPSpace, NB201Architecture, NB201Space
from autokit.nas.evaluators.proxies import PROXIES, naswot, ntk, snip, synflow
from autokit.nas.evaluators.proxies.forward import forward
from autokit.nas.evaluators.proxies.jacob_cov import score_of
from autokit.nas.evaluators.proxies.naswot import log_determinant
from autokit.training import Batch, seeded

L = keras.layers
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SQUARED = keras.losses.MeanSquaredError()


def rows(shape, n=12, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return Batch(
        rng.normal(size=(n, *shape)).astype("float32"),
        rng.integers(classes, size=n).astype("int32"),
    )


def network(*layers, shape):
    with seeded(0):
        return keras.Sequential([keras.Input(shape), *(layer() for layer in layers)])


def cell_network(seed=0):
    space = NB201Space(n_cells=1, width=4)
    with seeded(seed):
        return space.build(space.default, (8, 8), 3, "linear")


@pytest.mark.parametrize("name", PROXIES)
class TestEveryProxy:
    def test_is_a_finite_number_that_the_network_determines(self, name):
        batch = rows((8, 8))
        first, again = (PROXIES[name](cell_network(), batch, CROSS_ENTROPY) for _ in range(2))
        assert isinstance(first, float)
        assert np.isfinite(first)
        assert first == again

    def test_leaves_the_network_as_it_was(self, name):
        model = cell_network()
        before, nodes = model.get_weights(), [len(x._inbound_nodes) for x in model.layers]
        policies = [layer.dtype_policy.name for layer in model.layers]
        PROXIES[name](model, rows((8, 8)), CROSS_ENTROPY)
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert [layer.dtype_policy.name for layer in model.layers] == policies
        assert [len(x._inbound_nodes) for x in model.layers] == nodes

    def test_takes_tables_and_numbers(self, name):
        architecture = MLPArchitecture((64, 32), "relu", "layer", 0.0, False)
        with seeded(0):
            model = MLPSpace().build(architecture, (6,), 2, "linear")
        batch = rows((6,))
        targets = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")
        assert np.isfinite(PROXIES[name](model, Batch(batch.x, targets), SQUARED))

    def test_states_its_measured_correlation(self, name):
        assert "Spearman" in PROXIES[name].__doc__


def test_the_counts_are_those_of_the_network():
    model = network(lambda: L.Dense(4), lambda: L.BatchNormalization(), shape=(5,))
    assert PROXIES["n_params"](model, None, None) == 5 * 4 + 4 + 2 * 4
    assert PROXIES["flops"](model, None, None) == (2 * 20 + 4) + (2 * 4 + 6 * 4)


def test_grad_norm_of_a_linear_network_in_closed_form():
    model = network(lambda: L.Dense(2), shape=(4,))
    x, y = rows((4,)).x, np.random.default_rng(1).normal(size=(12, 2)).astype("float32")
    kernel, bias = model.get_weights()
    gradient = 2 / y.size * x.T @ (x @ kernel + bias - y)
    got = PROXIES["grad_norm"](model, Batch(x, y), SQUARED)
    assert got == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_snip_is_the_change_of_the_loss_by_factors_at_the_weights():
    model = network(
        lambda: L.Dense(3, activation="tanh"), lambda: L.BatchNormalization(), lambda: L.Dense(3),
        shape=(4,),
    )  # fmt: skip
    batch, step, brute = rows((4,)), 1e-2, 0.0

    def loss_now():
        outputs = model(batch.x, training=True)
        return float(CROSS_ENTROPY(batch.y, outputs))

    for variable in (model.layers[0].kernel, model.layers[-1].kernel):
        values = variable.numpy()
        for place in np.ndindex(values.shape):
            losses = []
            for factor in (1 + step, 1 - step):
                changed = values.copy()
                changed[place] *= factor
                variable.assign(changed)
                losses.append(loss_now())
            brute += abs(losses[0] - losses[1]) / (2 * step)
            variable.assign(values)
    assert snip(model, batch, CROSS_ENTROPY) == pytest.approx(brute, rel=2e-3)


def test_synflow_of_a_linear_network_in_closed_form():
    model = network(
        lambda: L.Dense(5), lambda: L.BatchNormalization(), lambda: L.ReLU(), lambda: L.Dense(3),
        shape=(4,),
    )  # fmt: skip
    model.layers[0].bias.assign([1.0, -2.0, 3.0, 4.0, 5.0])
    model.layers[1].gamma.assign([2.0, 3.0, -4.0, 5.0, 6.0])
    model.layers[1].moving_variance.assign([2.0, 3.0, 4.0, 5.0, 6.0])
    first, second = np.abs(model.layers[0].kernel), np.abs(model.layers[-1].kernel)
    flow = (first @ second).sum()
    assert synflow(model, None, None) == pytest.approx(np.log(2 * flow), rel=1e-6)


def test_synflow_of_a_shortcut_in_closed_form():
    inputs = keras.Input((4,))
    h = L.Dense(4, use_bias=False)(inputs)
    model = keras.Model(inputs, L.Dense(2, use_bias=False)(L.Add()([inputs, h])))
    first, second = (np.abs(layer.kernel) for layer in (model.layers[1], model.layers[-1]))
    direct, deep = second.sum(), (first @ second).sum()
    assert synflow(model, None, None) == pytest.approx(np.log(direct + 2 * deep), rel=1e-6)


def test_synflow_of_a_deep_network_is_beyond_float32_but_finite():
    depth = 60
    model = network(*[lambda: L.Dense(50, kernel_initializer="ones")] * depth, shape=(50,))
    assert synflow(model, None, None) == pytest.approx(np.log(depth) + (depth + 1) * np.log(50))


def test_jacobian_covariance_of_gradients_without_and_with_full_correlation():
    k, n = 1e-5, 6
    apart = np.hstack([np.eye(n), -np.eye(n)])
    assert score_of(apart) == pytest.approx(-n * (np.log(1 + k) + 1 / (1 + k)))
    linear = network(lambda: L.Dense(3), shape=(8,))
    got = PROXIES["jacob_cov"](linear, rows((8,), n), CROSS_ENTROPY)
    eigenvalues = np.array([n] + [0] * (n - 1))
    assert got == pytest.approx(-np.sum(np.log(eigenvalues + k) + 1 / (eigenvalues + k)), rel=1e-3)


def test_jacobian_covariance_without_gradient_is_the_worst():
    blind = network(lambda: L.Rescaling(0.0), lambda: L.Dense(2), shape=(4,))
    assert PROXIES["jacob_cov"](blind, rows((4,)), CROSS_ENTROPY) == -np.inf
    assert synflow(blind, None, None) == -np.inf


def test_naswot_of_a_net_made_by_hand():
    model = network(lambda: L.ReLU(), lambda: L.Dense(2), shape=(4,))
    x = np.array([[1, 1, 1, -1], [1, -1, -1, -1], [-1, -1, 1, 1]], "float32")
    kernel = np.array([[4, 2, 1], [2, 4, 1], [1, 1, 4]])  # units on which two rows agree
    got = naswot(model, Batch(x, np.zeros(3, "int32")), None)
    assert got == pytest.approx(np.log(np.linalg.det(kernel)))


def test_naswot_adds_up_all_relus_however_they_are_written():
    def together(first, second):
        model = network(first, lambda: L.Dense(3), second, lambda: L.Dense(2), shape=(6,))
        return naswot(model, rows((6,)), None)

    as_layers = together(L.ReLU, lambda: L.Activation("relu"))
    inner = network(lambda: L.ReLU(), shape=(6,))
    nested = together(lambda: inner, lambda: L.ReLU())
    assert as_layers == pytest.approx(nested)
    assert log_determinant(np.ones((2, 2))) == -np.inf


def test_naswot_needs_a_relu():
    model = network(lambda: L.Dense(2, activation="tanh"), shape=(4,))
    with pytest.raises(ValueError, match="ReLU activations"):
        naswot(model, rows((4,)), None)


def test_the_tangent_kernel_of_a_linear_network_in_closed_form():
    model = network(lambda: L.Dense(3), shape=(20,))
    batch = rows((20,))
    x = batch.x[:8].astype(float)
    eigenvalues = np.linalg.eigvalsh(3 * (x @ x.T + 1))  # 3 outputs; 1 for the bias
    expected = -eigenvalues[-1] / eigenvalues[0]
    assert ntk(model, batch, CROSS_ENTROPY) == pytest.approx(expected, rel=1e-4)


def test_the_tangent_kernel_of_equal_rows_is_singular():
    model = network(lambda: L.Dense(3), shape=(4,))
    same = Batch(np.ones((8, 4), "float32"), np.zeros(8, "int32"))
    assert ntk(model, same, CROSS_ENTROPY) == -np.inf


def test_more_signal_in_a_cell_with_more_paths():
    def of(ops, name):
        space = NB201Space(n_cells=1, width=4)
        with seeded(0):
            model = space.build(NB201Architecture(ops), (8, 8), 3, "linear")
        return PROXIES[name](model, rows((8, 8)), CROSS_ENTROPY)

    poor = ("none",) * 3 + ("skip_connect",) + ("none",) * 2
    rich = ("nor_conv_3x3",) * 6
    assert all(of(poor, name) < of(rich, name) for name in ("synflow", "n_params", "flops"))


def test_a_fused_pass_is_that_of_the_model():
    model = cell_network()
    batch = rows((8, 8)).x
    expected = model(batch, training=True)
    model = cell_network()
    np.testing.assert_allclose(forward(model, tf.constant(batch)), expected, rtol=1e-3, atol=1e-4)
    nested = network(lambda: cell_network(), lambda: L.Dropout(0.5), shape=(8, 8))
    assert forward(nested, tf.constant(batch)).shape == (12, 3)


def test_a_model_of_its_own_code_is_called():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(3)

        def call(self, x):
            return self.dense(x)

    model, batch = Own(), rows((4,))
    model(batch.x)
    assert snip(model, batch, CROSS_ENTROPY) > 0
    with pytest.raises(ValueError, match="Functional or Sequential"):
        naswot(model, batch, CROSS_ENTROPY)


def test_the_networks_of_the_other_spaces_are_taken_too():
    space = CNNSpace(stem_widths=(8,), max_blocks=1, max_stages=1)
    with seeded(0):
        model = space.build(space.default, (8, 8), 3, "linear")
    batch = rows((8, 8))
    assert all(np.isfinite(proxy(model, batch, CROSS_ENTROPY)) for proxy in PROXIES.values())
    assert tf.executing_eagerly()
