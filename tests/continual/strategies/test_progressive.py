from __future__ import annotations

import numpy as np
import pytest

from autokit.continual import ContinualModel, Progressive
from autokit.testing.continual import tiny_network


def _model(**parameters):
    settings = {"epochs": 5, "learning_rate": 0.02, "random_state": 0, "scenario": "task"}
    return ContinualModel(tiny_network, "progressive", **(settings | parameters))


def _rows(*labels, seed=0):
    y = np.tile(labels, 30)
    X = 3.0 * np.eye(4)[y % 4] + np.random.default_rng(seed).normal(size=(len(y), 4))
    return X.astype(np.float32), y


def test_nothing_is_forgotten():
    model, answers = _model(), {}
    for task, labels in enumerate([(0, 1), (2, 3), (1, 2)]):
        X, y = _rows(*labels)
        model.partial_fit(X, y, task=task)
        answers[task] = X, model.for_task(task).model_(X).numpy()
        for known, (rows, answer) in answers.items():
            np.testing.assert_array_equal(model.for_task(known).model_(rows).numpy(), answer)
    assert model.forgetting_ == 0.0
    matrix = model.accuracy_matrix_
    np.testing.assert_array_equal(matrix[2, :2], np.diag(matrix)[:2])


def test_growth_is_reported():
    model = _model()
    for task in range(3):
        X, y = _rows(0, 1, seed=task)
        model.partial_fit(X, y, task=task)
    own, lateral = (4 * 8 + 8) + (8 * 2 + 2), 8 * 2
    counts = model.strategy_.n_params(model.model_)
    assert counts.tolist() == [own, own + lateral, own + 2 * lateral]


def test_the_most_confident_column_answers_without_a_task():
    model = _model(scenario="class")
    for labels in ((0, 1), (2, 3)):
        model.partial_fit(*_rows(*labels))
    X, _ = _rows(0, 3)
    columns = np.stack([model.predict_proba(X, task=task) for task in (0, 1)])
    best = columns.max(axis=2).argmax(axis=0)
    assert set(best) == {0, 1}
    np.testing.assert_array_equal(model.predict_proba(X), columns[best, np.arange(len(X))])


def test_only_the_last_task_goes_on():
    model = _model()
    model.partial_fit(*_rows(0, 1), task="a")
    model.partial_fit(*_rows(1, 2), task="b")
    model.partial_fit(*_rows(1, 2, seed=1), task="b")
    model.partial_fit(*_rows(1, 3), task="b")
    assert model.for_task("b").classes_.tolist() == [1, 2, 3]
    X, _ = _rows(0, 1)
    before = model.predict_proba(X, task="a")
    for labels in ((0, 1), (0, 3)):
        with pytest.raises(ValueError, match="froze column 0"):
            model.partial_fit(*_rows(*labels), task="a")
    np.testing.assert_array_equal(model.predict_proba(X, task="a"), before)


def test_needs_no_key_of_its_own():
    assert Progressive().key() == "Progressive"
