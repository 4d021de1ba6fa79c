"""Sums of clipped gradients against loops in NumPy, for both ways to make them."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.training import TensorBatch, seeded, task_objective, value_and_gradient
from autokit.training.row_clipping import clipped_sum, weight_penalty
from autokit.training.row_norms import probe

L = keras.layers
RNG = np.random.default_rng(0)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SQUARED = keras.losses.MeanSquaredError()


def perceptron():
    return keras.Sequential([keras.Input((5,)), L.Dense(7, "tanh"), L.Dense(3)])


def convolutions():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            L.Conv2D(4, 3, 2, padding="same", activation="relu"),
            L.MaxPooling2D(2, 1),
            L.Flatten(),
            L.Dense(3),
        ]
    )


def residual():
    image = keras.Input((6, 6, 8))
    x = L.Conv2D(8, 3, padding="same", activation="gelu")(image)
    y = L.GroupNormalization(4)(x)
    y = L.Conv2D(8, 3, padding="same", dilation_rate=2, use_bias=False)(y)
    x = L.LayerNormalization()(L.Add()([x, y]))
    x = L.Dense(4, "softplus")(x)
    x = L.Conv1D(6, 3, strides=2, activation="sigmoid")(L.Reshape((36, 4))(x))
    return keras.Model(image, L.Dense(3)(L.GlobalAveragePooling1D()(x)))


def nested():
    inner = keras.Sequential([keras.Input((5,)), L.Dense(4, "relu"), L.Dense(4, "tanh")])
    row = keras.Input((5,))
    return keras.Model(row, L.Dense(3)(inner(row)))


def words():
    return keras.Sequential(
        [keras.Input((4,), dtype="int32"), L.Embedding(9, 6), L.Flatten(), L.Dense(3)]
    )


def tied():
    layer, row = L.Dense(5, "tanh"), keras.Input((5,))
    return keras.Model(row, L.Dense(3)(layer(layer(row))))


def recurrent():
    return keras.Sequential([keras.Input((3, 2)), L.SimpleRNN(4, unroll=True), L.Dense(3)])


BY_LAYERS = [perceptron, convolutions, residual, nested, words]


def rows(model, n, weighted=False):
    shape = (n, *model.input_shape[1:])
    integer = "int" in str(model.inputs[0].dtype)
    x = RNG.integers(0, 9, shape) if integer else RNG.normal(size=shape)
    weight = RNG.uniform(0.1, 3.0, n).astype("float32") if weighted else None
    return TensorBatch(
        tf.constant(x, tf.int32 if integer else tf.float32),
        tf.constant(RNG.integers(0, 3, n), tf.int32),
        None if weight is None else tf.constant(weight),
    )


def state(model):
    return (
        [v.value for v in model.trainable_variables],
        [v.value for v in model.non_trainable_variables],
    )


def summed(model, batch, clip, by_layers=None, loss=LOSS):
    """The clipped sum, compiled, at the weights that the model has."""
    function = tf.function(clipped_sum(model, loss, by_layers), autograph=False)
    return function(*state(model), batch, clip)


def by_hand(model, batch, clip, loss=LOSS):
    """One row after the other."""
    evaluate = value_and_gradient(task_objective(model, loss))
    total, norms = None, []
    for b in range(batch.x.shape[0]):
        row = TensorBatch(*(None if part is None else part[b : b + 1] for part in batch))
        gradients = [g.numpy().astype(float) for g in evaluate(*state(model), row)[1]]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        norms.append(norm)
        cut = [g * min(1.0, clip / norm) for g in gradients]
        total = cut if total is None else [t + g for t, g in zip(total, cut, strict=True)]
    return total, np.array(norms)


@pytest.mark.parametrize("by_layers", [True, False], ids=["by layers", "vectorised"])
@pytest.mark.parametrize("build", BY_LAYERS, ids=lambda build: build.__name__)
def test_the_sum_is_that_of_a_loop_over_rows(build, by_layers):
    with seeded(0):
        model = build()
    batch = rows(model, 9, weighted=True)
    wanted, norms = by_hand(model, batch, 0.5)
    assert (norms > 0.5).any()
    result = summed(model, batch, 0.5, by_layers)
    np.testing.assert_allclose(result.norms, norms, rtol=1e-4)
    for got, want in zip(result.gradients, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(result.outputs, model(batch.x), rtol=1e-4, atol=1e-5)
    mean = LOSS(batch.y, result.outputs, sample_weight=batch.weight)
    np.testing.assert_allclose(result.losses.numpy().mean(), mean, rtol=1e-5)


@pytest.mark.parametrize("build", [tied, recurrent])
def test_other_networks_go_the_vectorised_way(build):
    model = build()
    assert probe(model) is None
    batch = rows(model, 4)
    wanted, _ = by_hand(model, batch, 0.3)
    result = summed(model, batch, 0.3)
    for got, want in zip(result.gradients, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)


def test_layers_in_which_rows_may_meet_are_not_taken_apart():
    def of(*layers):
        return probe(keras.Sequential([keras.Input((5,)), *layers]))

    row = keras.Input((5,))
    mixed = row - keras.ops.mean(row, axis=0)
    assert probe(keras.Model(row, L.Dense(3)(mixed))) is None
    assert probe(keras.Model(row, L.Dense(3)(L.Concatenate(axis=0)([row, row])))) is None
    assert of(L.Lambda(lambda x: x[::-1]), L.Dense(3)) is None
    assert of(L.Dense(3, activity_regularizer="l2")) is None
    assert of(L.Dense(3, activation=lambda x: x - tf.reduce_mean(x, 0))) is None
    assert of(L.Dense(3, activation="tanh")) is not None


@pytest.mark.parametrize("by_layers", [True, False], ids=["by layers", "vectorised"])
def test_without_a_bound_it_is_the_gradient_of_the_sum(by_layers):
    model = convolutions()
    batch = rows(model, 6)
    result = summed(model, batch, 1e9, by_layers)
    _, mean = value_and_gradient(task_objective(model, LOSS))(*state(model), batch)
    for got, want in zip(result.gradients, mean, strict=True):
        np.testing.assert_allclose(got, 6 * want.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("by_layers", [True, False], ids=["by layers", "vectorised"])
def test_no_rows_and_many_rows(by_layers, monkeypatch):
    from autokit.training import row_clipping

    monkeypatch.setattr(row_clipping, "VECTORISED_BYTES", 5000)
    monkeypatch.setattr(row_clipping, "BY_LAYERS_BYTES", 1000)
    model = perceptron()
    nobody = summed(model, rows(model, 0), 1.0, by_layers)
    assert nobody.losses.shape == (0,) and nobody.outputs.shape == (0, 3)
    assert all(not g.numpy().any() for g in nobody.gradients)
    batch = rows(model, 40)
    wanted, norms = by_hand(model, batch, 1.0)
    pieces = summed(model, batch, 1.0, by_layers)
    np.testing.assert_allclose(pieces.norms, norms, rtol=1e-4)
    np.testing.assert_allclose(pieces.gradients[0], wanted[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("by_layers", [True, False], ids=["by layers", "vectorised"])
def test_a_row_that_is_not_finite_counts_as_zero(by_layers):
    model = perceptron()
    batch = rows(model, 5)
    x = batch.x.numpy()
    others = TensorBatch(tf.constant(np.delete(x, 2, 0)), tf.constant(np.delete(batch.y, 2, 0)))
    x[2] = np.nan
    with_it = summed(model, batch._replace(x=tf.constant(x)), 1.0, by_layers)
    without = summed(model, others, 1.0, by_layers)
    assert not np.isfinite(with_it.norms[2]) and with_it.losses[2] == 0
    for got, want in zip(with_it.gradients, without.gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("by_layers", [True, False], ids=["by layers", "vectorised"])
def test_no_row_can_end_a_training(by_layers, monkeypatch):
    """Also not one that is alone in its piece, or whose target is not finite."""
    from autokit.training import row_clipping

    for name in ("BY_LAYERS_BYTES", "VECTORISED_BYTES"):
        monkeypatch.setattr(row_clipping, name, 1)
    model = keras.Sequential([keras.Input((3,)), L.Dense(4, "tanh"), L.Dense(1)])
    x, y = np.ones((3, 3), np.float32), np.ones((3, 1), np.float32)
    x[0], y[1] = 1e30, np.nan
    result = summed(model, TensorBatch(tf.constant(x), tf.constant(y)), 1.0, by_layers, SQUARED)
    alone = summed(model, TensorBatch(tf.ones((1, 3)), tf.ones((1, 1))), 1.0, by_layers, SQUARED)
    assert np.isfinite(result.losses).all() and result.losses[1] == 0
    for got, want in zip(result.gradients, alone.gradients, strict=True):
        assert np.linalg.norm(got - want) <= 1.001  # the first is clipped, or left out
    for variable in model.trainable_variables:
        variable.assign(variable * np.nan)
    lost = summed(model, TensorBatch(tf.constant(x), tf.constant(y)), 1.0, by_layers, SQUARED)
    assert np.isnan(lost.losses).all()  # weights tell it of themselves


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_a_row_whose_places_cancel_is_cut_all_the_same(scale):
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((2, 64)),
            L.Dense(64, use_bias=False),
            L.GlobalAveragePooling1D(),
            L.Dense(1, use_bias=False),
        ]
    )
    model.layers[-1].kernel.assign(20 * model.layers[-1].kernel)
    row = rng.normal(size=64)
    x = scale * np.stack([row, -row + 1e-4 * rng.normal(size=64)])[None].astype(np.float32)
    batch = TensorBatch(tf.constant(x), tf.constant([[1e4]]))
    got = summed(model, batch, 1.0, True, SQUARED)
    assert np.sqrt(sum(np.sum(g.numpy() ** 2) for g in got.gradients)) <= 1.001


def test_dropout_moves_on_in_both_ways():
    for by_layers in (True, False):
        model = keras.Sequential([keras.Input((5,)), L.Dropout(0.5), L.Dense(3)])
        buffers = state(model)[1]
        result = summed(model, rows(model, 4), 1.0, by_layers)
        assert (result.buffers[0].numpy() != buffers[0].numpy()).any()


def test_penalties_on_weights_are_no_rows_business():
    def build(penalty):
        with seeded(0):
            return keras.Sequential([keras.Input((5,)), L.Dense(3, kernel_regularizer=penalty)])

    plain, penalised = build(None), build(keras.regularizers.L2(0.1))
    batch = rows(plain, 4)
    assert weight_penalty(plain) is None
    kernel = penalised.trainable_variables[0].numpy()
    value = weight_penalty(penalised)(state(penalised)[0])
    np.testing.assert_allclose(value, 0.1 * (kernel**2).sum(), rtol=1e-5)
    for by_layers in (True, False):
        a = summed(plain, batch, 0.5, by_layers)
        b = summed(penalised, batch, 0.5, by_layers)
        np.testing.assert_allclose(a.gradients[0], b.gradients[0], rtol=1e-4, atol=1e-6)
