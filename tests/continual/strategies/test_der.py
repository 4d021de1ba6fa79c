"""DER++: its loss against NumPy, and the answers that it stores."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.continual import EWC, ContinualModel, DERPlusPlus, chain
from autokit.continual.strategies.der import mean_square


def state_of(strategy):
    return {"alpha": np.float32(strategy.alpha), "beta": np.float32(strategy.beta)}


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 1.0), (2.0, 0.0), (0.0, 0.3)])
def test_loss_is_the_papers(open_step, alpha, beta):
    step, strategy = open_step(), DERPlusPlus(alpha=alpha, beta=beta)
    loss, gradients = step.result(strategy, state_of(strategy))
    # units 0 to 2 have something stored, and are of the memory rows' head
    apart = np.mean(np.square(step.logits(step.memory_x)[:, :3] - step.stored[:, :3]))
    expected = step.batch_loss() + alpha * apart + beta * step.memory_loss()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert all(np.isfinite(g).all() for g in gradients)
    assert not gradients[1][6:].any()  # units not in use


def test_padded_units_and_units_of_other_heads_do_not_count():
    outputs = np.array([[1.0, 5.0, -1e9], [2.0, 7.0, 3.0]], np.float32)
    stored = np.array([[3.0, np.nan, 0.0], [2.0, 4.0, np.nan]], np.float32)
    inside = np.array([[True, True, False], [True, True, True]])
    with tf.GradientTape() as tape:
        variable = tf.Variable(outputs)
        found = mean_square(variable, stored, inside)
    assert float(found) == pytest.approx((4 + 0 + 9) / 3)
    slope = tape.gradient(found, variable).numpy()
    np.testing.assert_allclose(slope, np.array([[-4, 0, 0], [0, 6, 0]]) / 3, rtol=1e-6)
    assert float(mean_square(outputs, stored * np.nan, inside)) == 0.0


def network(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(5, activation="tanh"),
            keras.layers.Dense(n_outputs),
        ]
    )


def test_answers_are_stored_as_the_network_gave_them():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)).astype(np.float32), np.repeat([4, 7, 1, 9], 15)
    model = ContinualModel(network, strategy="der++", epochs=2, random_state=0, memory_size=20)
    model.partial_fit(X[:30], y[:30])
    first = model._learnt.memory
    answers = model.model_(first.x).numpy()
    np.testing.assert_allclose(first.outputs, answers, atol=1e-6)
    model.partial_fit(X[30:], y[30:])
    memory = model._learnt.memory
    old = np.isin(memory.y, [1, 2])  # labels 4 and 7 among 1, 4, 7, 9
    assert 0 < old.sum() < len(memory) == 20
    assert np.isnan(memory.outputs[np.ix_(old, [0, 3])]).all()
    kept = {row.tobytes(): answer for row, answer in zip(first.x, first.outputs, strict=True)}
    for row, answer in zip(memory.x[old], memory.outputs[old], strict=True):
        np.testing.assert_array_equal(answer[[1, 2]], kept[row.tobytes()])
    answers = model.model_(memory.x[~old]).numpy()
    np.testing.assert_allclose(memory.outputs[~old], answers, atol=1e-6)


def test_strengths_in_a_chain_are_those_of_the_coming_experience():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)).astype(np.float32), np.arange(60) % 2
    model = ContinualModel(network, epochs=1, random_state=0)
    for alpha in (0.1, 0.7):
        both = chain(EWC(strength=1.0), DERPlusPlus(alpha=alpha))
        model.set_params(strategy=both).partial_fit(X, y)
        assert model._learnt.state["1"]["alpha"] == np.float32(alpha)


def test_all_strengths_share_a_training():
    assert DERPlusPlus(alpha=1.0).key() == DERPlusPlus(beta=0.0).key()
