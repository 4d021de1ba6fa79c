"""Structures that training keeps: in our loop and in Keras' own, alone and one over another."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.training import Batch, Constraints, FitConfig, Held, fit

rng = np.random.default_rng(0)
X = rng.normal(size=(64, 6)).astype("float32")
Y = rng.normal(size=(64, 3)).astype("float32")


def model_of(value, dtype="float32"):
    layer = keras.layers.Dense(3, dtype=dtype)
    model = keras.Sequential([keras.Input((6,)), layer])
    layer.kernel.assign(value)
    return model


def kernel_of(model):
    return model.layers[0].kernel.numpy()


def trained(model, constraints, by="autokit", epochs=2):
    if by == "autokit":
        fit(model, Batch(X, Y), config=FitConfig(epochs, 16), constraints=constraints)
        return
    attached = constraints.attach(model)
    model.compile("adam", "mse", steps_per_execution=4, jit_compile=by == "xla")
    model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0)
    attached.detach()


def sparse_value():
    value = rng.normal(size=(6, 3))
    value[rng.random((6, 3)) < 0.5] = 0
    return value.astype("float32")


@pytest.mark.parametrize("by", ["autokit", "keras", "xla"])
def test_zeros_stay_zeros_and_the_rest_moves(by):
    value = sparse_value()
    model = model_of(value)
    trained(model, Held(zeros=(0,)).constraints(), by)
    np.testing.assert_array_equal(kernel_of(model) == 0, value == 0)
    assert (kernel_of(model) != value)[value != 0].all()


@pytest.mark.parametrize("by", ["autokit", "keras", "xla"])
def test_equal_values_stay_equal(by):
    value = np.float32([0.1, -0.2, 0.3])[rng.integers(0, 3, (6, 3))]
    model = model_of(value)
    trained(model, Held(clusters=(0,)).constraints(), by)
    _, before = np.unique(value, return_inverse=True)
    _, after = np.unique(kernel_of(model), return_inverse=True)
    np.testing.assert_array_equal(before, after)
    assert (kernel_of(model) != value).all()


def test_zeros_and_clusters_of_one_weight():
    value = np.float32([0.0, -0.2, 0.3])[rng.integers(0, 3, (6, 3))]
    model = model_of(value)
    trained(model, Held(zeros=(0,), clusters=(0,)).constraints())
    np.testing.assert_array_equal(kernel_of(model) == 0, value == 0)
    assert len(np.unique(kernel_of(model))) == 3


def test_one_step_is_the_projection_of_the_free_step():
    value = sparse_value()
    free, held = model_of(value), model_of(value)
    config = FitConfig(epochs=1, batch_size=64, optimizer="sgd", learning_rate=0.1)
    fit(free, Batch(X, Y), config=config)
    fit(held, Batch(X, Y), config=config, constraints=Held(zeros=(0,)).constraints())
    np.testing.assert_allclose(kernel_of(held), kernel_of(free) * (value != 0), atol=1e-6)
    clustered = model_of(np.full((6, 3), 0.5, "float32"))
    fit(free := model_of(kernel_of(clustered)), Batch(X, Y), config=config)
    fit(clustered, Batch(X, Y), config=config, constraints=Held(clusters=(0,)).constraints())
    np.testing.assert_allclose(kernel_of(clustered), kernel_of(free).mean(), atol=1e-6)


def test_mixed_precision_holds_too():
    value = sparse_value()
    model = model_of(value, "mixed_float16")
    trained(model, Held(zeros=(0,)).constraints())
    np.testing.assert_array_equal(kernel_of(model) == 0, value == 0)


def test_a_program_that_is_used_again_begins_with_the_new_values():
    for _ in range(3):
        value = sparse_value()
        model = model_of(value)
        trained(model, Held(zeros=(0,)).constraints())
        np.testing.assert_array_equal(kernel_of(model) == 0, value == 0)
    free = model_of(value)
    trained(free, None)
    assert (kernel_of(free) != 0).all()


class Bound:
    """Clips to a limit; counts how often it began."""

    def __init__(self, limit):
        self.limit, self.begun = limit, 0

    def begin(self, variable):
        self.begun += 1

    def __call__(self, value):
        return tf.clip_by_value(value, -self.limit, self.limit)


def test_constraints_over_others():
    zeros = Held(zeros=(0, 1)).constraints()
    bound = Constraints("bound", {0: lambda: Bound(0.01)})
    both = bound.over(zeros)
    assert set(both.projections) == {0, 1} and both.key != zeros.key
    assert bound.over(None) is bound
    model = model_of(np.ones((6, 3)))
    model.layers[0].bias.assign([0.0, 1.0, 0.0])
    trained(model, both)
    assert np.abs(kernel_of(model)).max() <= np.float32(0.01)
    bias = model.layers[0].bias.numpy()
    assert bias[0] == bias[2] == 0 != bias[1]


def test_attaching_keeps_a_layers_own_constraint_and_detaching_gives_it_back():
    layer = keras.layers.Dense(3, kernel_constraint="non_neg")
    model = keras.Sequential([keras.Input((6,)), layer])
    own = layer.kernel.constraint
    made = []
    attached = Constraints("b", {0: lambda: made.append(Bound(0.5)) or made[-1]}).attach(model)
    got = layer.kernel.constraint(tf.constant([-2.0, 0.25, 2.0]))
    np.testing.assert_array_equal(got, [0.0, 0.25, 0.5])
    assert made[0].begun == 1
    attached.begin()
    assert made[0].begun == 2
    attached.detach()
    assert layer.kernel.constraint is own


def test_nothing_held_is_no_constraint():
    assert Held().constraints() is None
    assert Held(zeros=(1,)).constraints().key != Held(clusters=(1,)).constraints().key
