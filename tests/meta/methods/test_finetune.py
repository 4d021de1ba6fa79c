"""The baseline: its heads against scikit-learn and prototypical networks, its training."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from autokit.meta import FewShotLearner, FineTune, Prototypical
from autokit.testing.meta import blobs, tiny_encoder


def softmax(z):
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("l2", [1e-3, 1e-2])
def test_linear_head_is_logistic_regression_on_unit_features(embeddings, l2):
    x, y = unit(embeddings.support), embeddings.y
    # scikit-learn: C * (sum of losses) + |W|^2 / 2
    logistic = LogisticRegression(C=1 / (l2 * len(y)), max_iter=2000, tol=1e-8).fit(x, y)
    expected = logistic.predict_proba(unit(embeddings.query))
    method = FineTune(head="linear", l2=l2)
    for logits in (embeddings.compared(method), embeddings.head(method)):
        np.testing.assert_allclose(softmax(logits), expected, atol=1e-2)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_centroid_head_is_prototypical(embeddings, distance):
    methods = FineTune(distance=distance), Prototypical(distance=distance)
    for part in (embeddings.compared, embeddings.head):
        np.testing.assert_array_equal(*map(part, methods))


def test_features_are_those_of_one_classifier_of_all_classes():
    X, y = blobs(range(8), 10, 0)
    learner = FewShotLearner(
        FineTune(head="linear", l2=1e-2), encoder=tiny_encoder, n_episodes=300, n_way=3,
        outer_learning_rate=0.02, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert learner.history_["accuracy"][0] < learner.history_["accuracy"][-1]
    assert learner.history_["accuracy"][-1] > 0.9
    assert learner._learnt.network.output_shape == (None, 8)
    rows = unit(learner._learnt.network.predict(X, verbose=0))
    logistic = LogisticRegression(C=1 / (1e-2 * len(y)), max_iter=2000).fit(rows, y)
    np.testing.assert_allclose(learner.predict_proba(X), logistic.predict_proba(rows), atol=1e-2)


def test_more_rows_are_learnt_with_those_before():
    X, y = blobs(range(6), 10, 0)
    learner = FewShotLearner(
        FineTune(head="linear"), encoder=tiny_encoder, n_episodes=20, n_way=3, random_state=0
    ).fit(X[y < 4], y[y < 4])
    both = learner.adapt(X, y)
    added = learner.fit_classes(X[y >= 4], y[y >= 4])
    np.testing.assert_allclose(added.predict_proba(X), both.predict_proba(X), atol=1e-4)


def test_turned_classes_are_classes_of_their_own():
    rng = np.random.default_rng(0)
    X, y = rng.random((24, 4, 4)).astype(np.float32), np.repeat(np.arange(3), 8)
    learner = FewShotLearner(
        "finetune", n_way=3, n_query=2, n_episodes=4, augment="rotations", random_state=0
    ).fit(X, y)
    kernel = learner._learnt.network.output_shape[-1]
    assert kernel > 0
    assert learner.classes_.tolist() == [0, 1, 2]
    assert learner.predict_proba(X).shape == (24, 3)
