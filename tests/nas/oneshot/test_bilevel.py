from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import tf
from autokit.nas.oneshot.bilevel import architecture_gradient, mixture_of
from autokit.training import TensorBatch

RATE = 0.3
rng = np.random.default_rng(0)


def batch(n=12):
    x = rng.normal(size=(n, 3))
    return TensorBatch(tf.constant(x), tf.constant(np.sin(x @ [1.0, -2.0, 0.5])))


TRAINING, VALIDATION = batch(), batch()
PARAMS = [tf.constant(rng.normal(size=shape)) for shape in [(3, 4), (4,), (3,)]]
ALPHAS = tf.constant(rng.normal(size=(2, 3)))


def loss(params, alphas, batch):
    """A smooth net whose hidden units are mixed from three functions, in double precision."""
    kernel, out, linear = params
    first, second = tf.unstack(tf.nn.softmax(alphas), axis=0)
    hidden = batch.x @ kernel
    hidden = first[0] * tf.tanh(hidden) + first[1] * tf.sin(hidden) + first[2] * hidden
    deep = tf.linalg.matvec(hidden, out)
    flat = tf.linalg.matvec(batch.x, linear)
    outputs = second[0] * deep + second[1] * flat + second[2] * deep * flat
    return tf.reduce_mean((outputs - batch.y) ** 2)


def bilevel_loss(alphas):
    """L_val(w - rate * dL_train(w, a)/dw, a), written out."""
    alphas = tf.constant(alphas)
    with tf.GradientTape() as tape:
        tape.watch(PARAMS)
        inner = loss(PARAMS, alphas, TRAINING)
    moved = [p - RATE * g for p, g in zip(PARAMS, tape.gradient(inner, PARAMS), strict=True)]
    return float(loss(moved, alphas, VALIDATION))


def by_finite_differences(function, at, step=1e-6):
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        ahead, behind = at.copy(), at.copy()
        ahead[place] += step
        behind[place] -= step
        gradient[place] = (function(ahead) - function(behind)) / (2 * step)
    return gradient


def gradient(order, **options):
    return architecture_gradient(loss, order, **options)(
        PARAMS, ALPHAS, TRAINING, VALIDATION, tf.constant(RATE, tf.float64)
    )


def test_second_order_through_the_step_is_the_gradient_of_the_bilevel_objective():
    value, found = gradient(2, exact=True)
    assert float(value) == pytest.approx(bilevel_loss(ALPHAS.numpy()))
    expected = by_finite_differences(bilevel_loss, ALPHAS.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_second_order_by_the_papers_differences_agrees():
    np.testing.assert_allclose(gradient(2)[1], gradient(2, exact=True)[1], rtol=1e-3, atol=1e-5)


def test_first_order_takes_the_weights_as_they_are():
    expected = by_finite_differences(
        lambda alphas: float(loss(PARAMS, tf.constant(alphas), VALIDATION)), ALPHAS.numpy()
    )
    np.testing.assert_allclose(gradient(1)[1], expected, rtol=1e-5, atol=1e-8)
    assert np.abs(gradient(1)[1] - gradient(2)[1]).max() > 0.01


def test_without_a_step_ahead_both_orders_are_one():
    arguments = (PARAMS, ALPHAS, TRAINING, VALIDATION, tf.constant(0.0, tf.float64))
    first, second = (architecture_gradient(loss, order)(*arguments)[1] for order in (1, 2))
    np.testing.assert_allclose(first, second)


def test_the_auxiliary_skip_is_added_to_the_softmax():
    plain = tf.nn.softmax(ALPHAS).numpy()
    np.testing.assert_array_equal(mixture_of(ALPHAS, None, 0.5), plain)
    added = mixture_of(ALPHAS, 1, tf.constant(0.5, tf.float64)) - plain
    np.testing.assert_allclose(added, [[0, 0.5, 0]] * 2, atol=1e-15)
