"""Objectives, gradients, local SGD and update rules against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.training import (
    Step,
    TensorBatch,
    adagrad,
    adam,
    apply_changes,
    distillation,
    fed_adam,
    fed_yogi,
    hessian_vector_product,
    local_sgd,
    quadratic_penalty,
    sgd,
    task_objective,
    value_and_gradient,
    weighted_mean,
)
from autokit.training.objectives import make_loss

RNG = np.random.default_rng(1)
A = RNG.normal(size=(3, 3))
HESSIAN = (A @ A.T + np.eye(3)).astype("float32")
ROWS = RNG.normal(size=(20, 3)).astype("float32")
LABELS = (RNG.random(20) > 0.5).astype("float32")


def quadratic(params, buffers, batch):
    """0.5 p'Hp - x'p, so that the gradient is Hp - x."""
    (p,) = params
    h = tf.constant(HESSIAN)
    loss = 0.5 * tf.tensordot(p, tf.linalg.matvec(h, p), 1) - tf.tensordot(batch.x, p, 1)
    return Step(loss, buffers, p)


def batch_of(x):
    return TensorBatch(tf.constant(x, tf.float32), tf.zeros(len(x)))


def logistic_model():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid", use_bias=False)]
    )


def test_gradient_of_logistic_regression_is_the_closed_form():
    model = logistic_model()
    objective = task_objective(model, keras.losses.BinaryCrossentropy())
    w = RNG.normal(size=(3, 1)).astype("float32")
    step, (gradient,) = value_and_gradient(objective)(
        [tf.constant(w)], [], TensorBatch(tf.constant(ROWS), tf.constant(LABELS[:, None]))
    )
    p = 1 / (1 + np.exp(-ROWS @ w))
    np.testing.assert_allclose(gradient, ROWS.T @ (p - LABELS[:, None]) / 20, rtol=1e-4, atol=1e-6)
    expected = -np.mean(LABELS * np.log(p[:, 0]) + (1 - LABELS) * np.log(1 - p[:, 0]))
    np.testing.assert_allclose(step.loss, expected, rtol=1e-5)


def test_objective_adds_regularisation_and_weighs_rows():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_regularizer="l2")]
    )
    objective = task_objective(model, make_loss("mean_squared_error"))
    w = np.ones((3, 1), "float32")
    weight = np.linspace(0, 1, 20).astype("float32")
    batch = TensorBatch(tf.constant(ROWS), tf.constant(LABELS[:, None]), tf.constant(weight))
    loss = objective([tf.constant(w)], [], batch).loss
    squares = np.square(ROWS.sum(1) - LABELS)
    np.testing.assert_allclose(loss, np.mean(weight * squares) + 0.01 * 3, rtol=1e-5)


def test_hessian_vector_product_of_a_quadratic():
    vector = RNG.normal(size=3).astype("float32")
    product = hessian_vector_product(quadratic)(
        [tf.ones(3)], [], batch_of(np.zeros(3)), [tf.constant(vector)]
    )
    np.testing.assert_allclose(product[0], HESSIAN @ vector, rtol=1e-5)


def test_unused_parameter_has_zero_gradient_and_embeddings_are_dense():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Embedding(7, 3)])
    objective = task_objective(model, make_loss("mean_squared_error"))
    batch = TensorBatch(tf.constant([[1.0, 2.0]]), tf.zeros((1, 2, 3)))
    params = [tf.ones((7, 3)), tf.ones(4)]

    def one_of_two(params, buffers, batch):
        return objective(params[:1], buffers, batch)

    _, gradients = value_and_gradient(one_of_two)(params, [], batch)
    assert not np.any(gradients[1])
    assert np.flatnonzero(np.any(gradients[0], axis=1)).tolist() == [1, 2]


def test_quadratic_penalty_value_and_gradient():
    params, anchor = [tf.constant([1.0, 2.0, 3.0])], [np.array([0.0, 1.0, 1.0], "float32")]
    batch = batch_of(np.zeros(3))
    fisher = [np.array([1.0, 0.0, 2.0], "float32")]
    plain = value_and_gradient(quadratic)(params, [], batch)
    pulled = value_and_gradient(quadratic_penalty(quadratic, anchor, fisher))(params, [], batch)
    np.testing.assert_allclose(pulled[0].loss - plain[0].loss, 1 * 1 + 0 + 2 * 4, rtol=1e-6)
    np.testing.assert_allclose(pulled[1][0] - plain[1][0], [2, 0, 8], rtol=1e-5)
    none = value_and_gradient(quadratic_penalty(quadratic, anchor, 0.0))(params, [], batch)
    np.testing.assert_array_equal(none[1][0], plain[1][0])


def test_distillation_of_an_equal_teacher_has_no_gradient():
    logits = tf.constant(RNG.normal(size=(4, 3)), tf.float32)

    def student(params, buffers, batch):
        outputs = tf.nn.softmax(params[0])
        return Step(tf.constant(5.0), buffers, outputs)

    distilled = distillation(student, lambda x: tf.nn.softmax(logits), weight=1.0, temperature=3.0)
    step, (gradient,) = value_and_gradient(distilled)([logits], [], batch_of(np.zeros(4)))
    np.testing.assert_allclose(gradient, np.zeros((4, 3)), atol=1e-6)
    soft = tf.nn.softmax(logits / 3.0).numpy()
    np.testing.assert_allclose(step.loss, 9 * -np.mean((soft * np.log(soft)).sum(1)), rtol=1e-4)


@pytest.mark.parametrize("known_length", [True, False], ids=["unrolled", "looped"])
def test_local_sgd_equals_numpy(known_length):
    xs = RNG.normal(size=(4, 3)).astype("float32")
    shape = (4 if known_length else None, 3)

    @tf.function(
        input_signature=[tf.TensorSpec(shape, tf.float32), tf.TensorSpec(shape[:1], tf.float32)]
    )
    def run(x, y):
        result = local_sgd(quadratic, 0.05)([tf.ones(3)], [], TensorBatch(x, y))
        return result.params[0], result.losses

    params, losses = run(xs, np.zeros(4, "float32"))
    p = np.ones(3)
    for i, x in enumerate(xs):
        np.testing.assert_allclose(losses[i], 0.5 * p @ HESSIAN @ p - x @ p, rtol=1e-4)
        p = p - 0.05 * (HESSIAN @ p - x)
    np.testing.assert_allclose(params, p, rtol=1e-4)


@pytest.mark.parametrize("first_order", [False, True])
def test_gradient_through_local_sgd(first_order):
    """MAML's outer gradient on a quadratic: (I - lr H)' (H p' - x), without H in first order."""
    x = RNG.normal(size=(1, 3)).astype("float32")
    start = tf.constant([1.0, -1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(start)
        adapted = local_sgd(quadratic, 0.1, first_order=first_order)([start], [], batch_of(x))
        loss = quadratic(adapted.params, [], TensorBatch(tf.constant(x[0]), None)).loss
    after = start.numpy() - 0.1 * (HESSIAN @ start.numpy() - x[0])
    inner = np.eye(3) if first_order else np.eye(3) - 0.1 * HESSIAN
    expected = inner.T @ (HESSIAN @ after - x[0])
    np.testing.assert_allclose(tape.gradient(loss, start), expected, rtol=1e-4, atol=1e-5)


def test_learning_rate_per_parameter():
    x = np.ones((1, 3), "float32")
    rate = tf.constant([0.1, 0.0, 0.2])
    moved = local_sgd(quadratic, [rate])([tf.zeros(3)], [], batch_of(x)).params[0]
    np.testing.assert_allclose(moved, [0.1, 0.0, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "peer"),
    [
        (sgd(0.1), keras.optimizers.SGD(0.1)),
        (sgd(0.1, momentum=0.9), keras.optimizers.SGD(0.1, momentum=0.9)),
        (sgd(0.1, 0.9, nesterov=True), keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)),
        (adam(0.01), keras.optimizers.Adam(0.01)),
        (adagrad(0.1), keras.optimizers.Adagrad(0.1)),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "adagrad"],
)
def test_update_rules_equal_keras(rule, peer):
    params = [tf.constant(RNG.normal(size=(2, 3)), tf.float32), tf.ones(4)]
    variables = [keras.Variable(p) for p in params]
    state = rule.init(params)
    for _ in range(5):
        gradients = [tf.constant(RNG.normal(size=p.shape), tf.float32) for p in params]
        changes, state = rule.update(gradients, state, params)
        params = apply_changes(params, changes)
        peer.apply(gradients, variables)
    for ours, theirs in zip(params, variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["fed_adam", "fed_yogi"])
def test_federated_servers_by_hand(name):
    rule = {"fed_adam": fed_adam, "fed_yogi": fed_yogi}[name](0.1)
    params = [tf.zeros(2)]
    state = rule.init(params)
    m, v = np.zeros(2), np.full(2, 1e-6)
    for g in np.array([[0.5, -1.0], [0.1, 0.3]]):
        changes, state = rule.update([tf.constant(g, tf.float32)], state, params)
        m = 0.9 * m + 0.1 * g
        v = 0.99 * v + 0.01 * g**2 if name == "fed_adam" else v - 0.01 * g**2 * np.sign(v - g**2)
        np.testing.assert_allclose(changes[0], -0.1 * m / (np.sqrt(v) + 1e-3), rtol=1e-4)


def test_weighted_mean():
    stacked = RNG.normal(size=(3, 2, 2)).astype("float32")
    (mean,) = weighted_mean([tf.constant(stacked)], [1, 2, 5])
    np.testing.assert_allclose(mean, np.average(stacked, axis=0, weights=[1, 2, 5]), rtol=1e-5)


def test_plain_function_as_loss():
    loss = make_loss(lambda y, out: tf.reduce_mean(tf.abs(y - out), axis=-1))
    value = loss(tf.zeros((2, 1)), tf.constant([[1.0], [-3.0]]), sample_weight=tf.ones(2))
    np.testing.assert_allclose(value, 2.0)
