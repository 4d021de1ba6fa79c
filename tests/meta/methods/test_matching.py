"""Matching networks: votes by attention, in NumPy and as layers."""

from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.meta import FewShotLearner, Matching
from autokit.meta.protocols import Support
from autokit.testing.meta import blobs, tiny_encoder


def softmax(z):
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def votes(query, support, y, n_way, temperature):
    attention = softmax(unit(query) @ unit(support).T / temperature)
    return attention @ np.eye(n_way)[y]


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_rows_vote_by_their_cosines(embeddings, temperature):
    method = Matching(temperature=temperature)
    expected = votes(embeddings.query, embeddings.support, embeddings.y, 4, temperature)
    np.testing.assert_allclose(np.exp(embeddings.compared(method)), expected, atol=1e-6)
    np.testing.assert_allclose(embeddings.head(method), expected, atol=1e-6)


def test_one_row_of_each_class_is_the_softmax_of_cosines(embeddings):
    embeddings.y = np.int32([2, 0, 3, 1])
    embeddings.support = embeddings.support[:4]
    cosines = unit(embeddings.query) @ unit(embeddings.support[[1, 3, 0, 2]]).T
    method = Matching(temperature=1.0)
    np.testing.assert_allclose(
        np.exp(embeddings.compared(method)), softmax(cosines), rtol=1e-5, atol=1e-6
    )


def lstm(rows, kernel, recurrent, bias):
    """A pass of an LSTM over rows; gates in Keras' order i, f, c, o."""
    layer = keras.layers.LSTM(rows.shape[1], return_sequences=True)
    layer.build((None, *rows.shape))
    layer.set_weights([kernel, recurrent, bias])
    return layer(rows[None])[0].numpy()


def first_weights(seed=0):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
    rng = np.random.default_rng(seed)
    weights = Matching(full_context=True).extras(network, seed)
    return [w + 0.3 * rng.normal(size=w.shape).astype(np.float32) for w in weights]


def test_full_context_is_two_passes_and_a_reader(embeddings):
    extras = first_weights()
    method = Matching(full_context=True, n_reads=2, temperature=0.5)
    support = embeddings.support
    backwards = lstm(support[::-1], *extras[3:6])[::-1]
    context = lstm(support, *extras[:3]) + backwards + support
    kernel, recurrent, bias = extras[6:]

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    x = hidden = embeddings.query
    cell = np.zeros_like(x)
    for _ in range(2):
        read = softmax(hidden @ context.T) @ context
        gates = x @ kernel + np.hstack([hidden, read]) @ recurrent + bias
        i, f, c, o = np.split(gates, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        hidden = sigmoid(o) * np.tanh(cell) + x
    expected = votes(hidden, context, embeddings.y, 4, 0.5)
    np.testing.assert_allclose(np.exp(embeddings.compared(method, extras)), expected, atol=1e-5)


def test_layers_of_full_context_answer_as_training_compares(embeddings):
    order = np.argsort(embeddings.y, kind="stable")  # as tasks are drawn
    embeddings.y, embeddings.support = embeddings.y[order], embeddings.support[order]
    extras, method = first_weights(), Matching(full_context=True)
    found = embeddings.head(method, extras)
    np.testing.assert_allclose(found, np.exp(embeddings.compared(method, extras)), atol=1e-5)


def test_a_support_set_is_kept_in_the_order_of_its_classes():
    y = np.int32([2, 0, 2, 1, 0])
    kept = Matching().kept(Support(np.arange(5.0)[:, None], y, np.arange(5.0)))
    assert kept.y.tolist() == [0, 0, 1, 2, 2]
    assert kept.x[:, 0].tolist() == kept.weight.tolist() == [1, 4, 3, 0, 2]


def test_a_learner_answers_by_the_votes_of_all_rows():
    X, y = blobs(range(5), 6, 0)
    learner = FewShotLearner(
        "matching", encoder=tiny_encoder, n_way=3, n_episodes=20, random_state=0
    ).fit(X, y)
    rows = learner._learnt.network.predict(X, verbose=0)
    np.testing.assert_allclose(
        learner.predict_proba(X), votes(rows, rows, y, 5, 0.1), rtol=1e-3, atol=1e-5
    )


def test_full_context_is_learnt_and_answers_alike():
    X, y = blobs(range(12), 8, 1)
    learner = FewShotLearner(
        Matching(full_context=True, n_reads=1), encoder=tiny_encoder, n_way=3, n_episodes=200,
        outer_learning_rate=0.02, random_state=0,
    ).fit(X, y)  # fmt: skip
    first = learner.method_.extras(learner._learnt.network, 0)
    for before, after in zip(first, learner._learnt.extras, strict=True):
        assert before.shape == after.shape
        assert not np.allclose(before, after, atol=0.05)
    new_x, new_y = blobs(range(20, 24), 8, 2)
    assert learner.evaluate(new_x, new_y, n_way=3, k_shot=2, n_episodes=50).mean > 0.6
    new = learner.adapt(new_x[::2], new_y[::2])
    proba = new.predict_proba(new_x)
    np.testing.assert_allclose(new.predict_proba(new_x[5:6])[0], proba[5], atol=1e-5)
    later = learner.adapt(new_x[:16:2], new_y[:16:2]).fit_classes(new_x[16::2], new_y[16::2])
    np.testing.assert_allclose(later.predict_proba(new_x), proba, atol=1e-4)
