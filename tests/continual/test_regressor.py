from __future__ import annotations

import numpy as np
import pytest

from autokit import load, save
from autokit.continual import ContinualRegressor
from autokit.testing.continual import tiny_network

STRATEGIES = ("naive", "replay", "ewc", "progressive")


def _regressor(strategy="replay", model=tiny_network, **parameters):
    settings = {"epochs": 30, "batch_size": 16, "learning_rate": 0.02, "random_state": 0}
    return ContinualRegressor(model, strategy, **(settings | parameters))


def _rows(part, n_outputs=1, n_rows=120):
    """Rows of one part of the input space, and smooth targets."""
    X = np.random.default_rng(part).uniform(-1, 1, (n_rows, 3)).astype(np.float32)
    X[:, 0] += 2.0 * part - 1.0
    y = np.column_stack([np.sin(2.0 * X[:, 0]) + X[:, 1], 1.0 - X[:, 2]])
    return X, y[:, 0] if n_outputs == 1 else y


def _opposite(part, n_outputs=1):
    """The same rows for every task, and targets that contradict each other."""
    X, y = _rows(0, n_outputs)
    return X, y if part == 0 else -y


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_learns_task_after_task_with_a_head_each(strategy):
    model = _regressor(strategy, scenario="task")
    for task in (0, 1):
        X, y = _opposite(task)
        model.partial_fit(X, y, task=task)
        # any constant has an R2 of 0
        assert model.score(X, y, task=task) > 0.7
    answers = [model.predict(_opposite(0)[0], task=task) for task in (0, 1)]
    assert np.corrcoef(*answers)[0, 1] < 0
    assert model.score_matrix_.shape == (2, 2)
    np.testing.assert_array_equal(
        model.predict(X, task=[0] * 60 + [1] * 60), np.r_[answers[0][:60], answers[1][60:]]
    )
    with pytest.raises(ValueError, match="head of its own"):
        model.predict(X)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_learns_part_after_part_of_one_function(strategy):
    model = _regressor(strategy, scenario="domain")
    for part in (0, 1):
        X, y = _rows(part)
        model.partial_fit(X, y)
        asked = part if strategy == "progressive" else None
        assert model.score(X, y, task=asked) > 0.7


def test_replay_forgets_less_than_naive():
    scores = {}
    for strategy in ("naive", "replay"):
        model = _regressor(strategy, scenario="domain", memory_size=40)
        for part in (0, 1):
            model.partial_fit(*_rows(part))
        scores[strategy] = model.score(*_rows(0))
        matrix = model.score_matrix_
        assert model.forgetting_ == pytest.approx(matrix[0, 0] - matrix[1, 0])
    assert scores["replay"] > 0.6
    assert scores["replay"] > scores["naive"]


def test_progressive_columns_keep_old_predictions():
    model = _regressor("progressive", scenario="task")
    X, y = _opposite(0)
    before = model.partial_fit(X, y, task="a").predict(X, task="a")
    model.partial_fit(*_opposite(1), task="b")
    np.testing.assert_array_equal(model.predict(X, task="a"), before)
    assert model.forgetting_ == 0.0


@pytest.mark.parametrize("strategy", ["ewc", "progressive"])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_shapes_and_parts_for_a_task(strategy, n_outputs, tmp_path):
    model = _regressor(strategy, scenario="task", epochs=3)
    for task in ("a", "b"):
        X, y = _opposite(int(task == "b"), n_outputs)
        model.partial_fit(X, y, task=task)
    assert model.model_.output_shape == (None, 2 * n_outputs)
    for task in ("a", "b"):
        answer = model.predict(X, task=task)
        assert answer.shape == y.shape
        part = model.for_task(task)
        np.testing.assert_allclose(part.predict(X), answer, atol=1e-5)
        assert part.model_.output_shape == (None, n_outputs)
    again = load(save(model, tmp_path / "regressor.autokit"))
    np.testing.assert_array_equal(again.predict(X, task="b"), answer)


def test_later_targets_are_scaled_like_the_first():
    model = _regressor("naive", None, scenario="domain")
    X, y = _rows(0)
    y = 1e4 + 1e3 * y
    model.partial_fit(X, y)
    assert model.score(X, y) > 0.8
    scaling = model.target_
    model.partial_fit(X, y + 1e3)
    assert model.target_ is scaling
    assert model.score(X, y + 1e3) > 0.8


def test_targets_must_be_finite_and_as_wide_as_the_first():
    model = _regressor("naive", scenario="domain", epochs=1)
    X, y = _rows(0)
    before = model.partial_fit(X, y).predict(X)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(X, np.where(np.arange(len(y)) == 3, np.nan, y))
    with pytest.raises(ValueError, match="output|shape|column"):
        model.partial_fit(X, np.stack([y, y], axis=1))
    np.testing.assert_array_equal(model.predict(X), before)


def test_strategies_for_classes_say_so():
    X, y = _rows(0)
    with pytest.raises(ValueError, match="cannot serve a regression"):
        _regressor("icarl").partial_fit(X, y)
