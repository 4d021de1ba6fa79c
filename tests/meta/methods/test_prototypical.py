"""Prototypical networks: distances to means, in NumPy and as a layer."""

from __future__ import annotations

import numpy as np
import pytest

from autokit.meta import FewShotLearner, Prototypical
from autokit.meta.protocols import Support
from autokit.testing.meta import blobs, tiny_encoder


def softmax(z):
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def similarities(rows, prototypes, distance, temperature):
    if distance == "euclidean":
        return -np.square(rows[:, None] - prototypes).sum(axis=2) / temperature
    lengths = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(prototypes, axis=1)
    return rows @ prototypes.T / lengths / temperature


def means(rows, y):
    return np.stack([rows[y == k].mean(axis=0) for k in np.unique(y)])


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("temperature", [None, 0.5])
def test_probabilities_are_those_of_distances_to_means(embeddings, distance, temperature):
    method = Prototypical(distance=distance, temperature=temperature)
    scale = temperature or {"euclidean": 1.0, "cosine": 0.1}[distance]
    prototypes = means(embeddings.support, embeddings.y)
    expected = similarities(embeddings.query, prototypes, distance, scale)
    np.testing.assert_allclose(
        softmax(embeddings.compared(method)), softmax(expected), rtol=1e-4, atol=1e-6
    )
    if distance == "cosine":
        np.testing.assert_allclose(embeddings.compared(method), expected, atol=1e-5)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_layers_answer_as_training_compares(embeddings, distance):
    method = Prototypical(distance=distance)
    np.testing.assert_allclose(
        embeddings.head(method), embeddings.compared(method), rtol=1e-4, atol=1e-4
    )


def test_an_embedding_of_zero_has_no_cosine_and_no_nan(embeddings):
    embeddings.query[0] = 0.0
    embeddings.support[embeddings.y == 1] = 0.0
    method = Prototypical(distance="cosine")
    for logits in (embeddings.compared(method), embeddings.head(method)):
        np.testing.assert_array_equal(logits[0], 0.0)
        np.testing.assert_array_equal(logits[:, 1], 0.0)


def test_prototypes_are_means_of_means_with_their_weights():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3, dtype=np.int32), [2, 5, 8])
    x = rng.normal(size=(15, 4)).astype(np.float32)
    method, one = Prototypical(), np.ones(15, np.float32)
    first = method.kept(Support(x[::2], y[::2], one[::2]))
    both = method.kept(
        Support(*(np.concatenate([a, b[1::2]]) for a, b in zip(first, (x, y, one), strict=True)))
    )
    np.testing.assert_allclose(both.x, means(x, y), atol=1e-6)
    assert both.weight.tolist() == [2, 5, 8]


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_a_learner_answers_by_means_of_its_embeddings(distance):
    X, y = blobs(range(8), 6, 0)
    learner = FewShotLearner(
        "prototypical", encoder=tiny_encoder, n_way=3, n_episodes=20, distance=distance,
        random_state=0,
    ).fit(X, y)  # fmt: skip
    rows = learner._learnt.network.predict(X, verbose=0)
    scale = {"euclidean": 1.0, "cosine": 0.1}[distance]
    expected = softmax(similarities(rows, means(rows, y), distance, scale))
    np.testing.assert_allclose(learner.predict_proba(X), expected, atol=1e-4)
