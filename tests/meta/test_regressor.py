"""FewShotRegressor: new functions from a handful of points."""

from __future__ import annotations

import numpy as np
import pytest

from autokit import FewShotRegressor, load, save
from autokit._backend import keras
from autokit.meta import MAML, FewShotWarning, Prototypical
from autokit.meta.episodes import Pool
from autokit.meta.protocols import Layout

SETTINGS = {"k_shot": 8, "n_query": 8, "random_state": 0}


def sinusoids(n_tasks, n_rows, seed):
    """Of any phase, in units of a thousand around ten thousand."""
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n_rows)
    phase = rng.uniform(0, np.pi, n_tasks)[task]
    X = rng.uniform(-3, 3, (len(task), 1))
    return X, 1e4 + 1e3 * np.sin(X[:, 0] + phase), task


@pytest.fixture(scope="module")
def learner():
    X, y, task = sinusoids(60, 20, 0)
    return FewShotRegressor(
        inner_learning_rate=0.05, n_episodes=4000, meta_batch_size=4, outer_learning_rate=0.005,
        validation_fraction=0.2, **SETTINGS,
    ).fit(X, y, task_ids=task)  # fmt: skip


def test_sinusoids_are_learnt_from_a_few_points(learner):
    X, y, task = sinusoids(20, 30, 1)
    adapted, before = [], []
    for k in range(20):
        rows = np.flatnonzero(task == k)
        new = learner.adapt(X[rows[:8]], y[rows[:8]])
        errors = [m.predict(X[rows[8:]]) - y[rows[8:]] for m in (new, learner)]
        adapted.append(np.mean(errors[0] ** 2))
        before.append(np.mean(errors[1] ** 2))
    assert np.mean(adapted) < 0.6 * np.mean(before)
    assert np.mean(adapted) < 0.4 * y.var()


def test_evaluation_is_the_error_in_the_targets_units(learner):
    X, y, task = sinusoids(6, 16, 2)
    scores = learner.evaluate(X, y, task, n_episodes=4)
    assert scores.scores.shape == (4,)
    assert str(scores).endswith("(8-shot, 4 episodes)")
    places = Pool(task).draw(np.random.default_rng(0), Layout(1, 8, 8), 4)
    for rows, score in zip(places, scores.scores, strict=True):
        new = learner.adapt(X[rows[:8]], y[rows[:8]])
        error = np.mean((new.predict(X[rows[8:]]) - y[rows[8:]]) ** 2)
        assert score == pytest.approx(error, rel=1e-3)
    fewer = learner.evaluate(X, y, task, k_shot=2, n_query=3, n_episodes=4)
    assert (fewer.k_shot, fewer.n_query) == (2, 3)


def test_history_has_errors_of_tasks_held_out(learner):
    assert learner.history_.keys() == {"loss", "val_mse", "episodes"}
    n_epochs = len(learner.history_["episodes"])
    assert all(len(values) == n_epochs for values in learner.history_.values())
    assert 0 < learner.history_["val_mse"][-1] < learner.history_["val_mse"][0]


def test_adapting_leaves_the_learner_as_it_is_and_its_file_goes_on(learner, tmp_path):
    X, y, task = sinusoids(2, 10, 3)
    before = learner.predict(X)
    new = learner.adapt(X[:10], y[:10])
    np.testing.assert_array_equal(learner.predict(X), before)
    again = load(save(new, tmp_path / "regressor.autokit"))
    np.testing.assert_array_equal(again.predict(X), new.predict(X))
    more = [m.adapt(X[10:], y[10:]).predict(X) for m in (new, again)]
    np.testing.assert_array_equal(*more)
    assert new.predict(X[:1]).shape == (1,)


def tiny(shape):
    return keras.Sequential([keras.Input(shape), keras.layers.Dense(8, activation="relu")])


def test_several_outputs():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = np.stack([X.sum(axis=1), 10 * X[:, 0], X[:, 1] - 5], axis=1)
    settings = SETTINGS | {"k_shot": 4, "n_query": 3, "n_episodes": 8, "encoder": tiny}
    learner = FewShotRegressor(**settings).fit(X, y, task_ids=np.arange(60) % 5)
    new = learner.adapt(X[:6], y[:6])
    assert new.predict(X).shape == (60, 3)
    assert np.isfinite(learner.evaluate(X, y, np.arange(60) % 5, n_episodes=3).scores).all()
    with pytest.raises(ValueError, match="y has 1 outputs, but FewShotRegressor was fitted with 3"):
        learner.adapt(X[:6], y[:6, 0])


def test_names_of_tasks_may_be_texts():
    X, y, task = sinusoids(3, 20, 0)
    settings = SETTINGS | {"n_episodes": 4, "meta_batch_size": 2, "encoder": tiny}
    first = FewShotRegressor(**settings).fit(X, y, task_ids=task)
    named = FewShotRegressor(**settings).fit(X, y, task_ids=np.array(["a", "b", "c"])[task])
    np.testing.assert_array_equal(first.predict(X), named.predict(X))


def test_without_names_all_rows_are_one_task():
    X, y, _ = sinusoids(3, 20, 0)
    with pytest.raises(ValueError, match=r"k_shot \+ n_query is 60 \+ 1 = 61, but the task 0 of y"):
        FewShotRegressor(k_shot=60, n_query=1).fit(X, y)


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ({}, {"task_ids": np.zeros(7)}, "X has 60, .* has 7; pass one of each for every row"),
        ({}, {"task_ids": np.zeros((60, 1))}, r"task_ids must be of shape \(n_samples,\)"),
        (
            {}, {"task_ids": np.arange(60) % 6},
            r"k_shot \+ n_query is 8 \+ 8 = 16, but the task 0 of y has 10 samples \(6 of 6 tasks",
        ),
        ({"validation_fraction": 0.9}, {"task_ids": np.arange(60) % 3}, "has 0 tasks to draw from"),
        ({"method": "prototypical"}, {}, "'method' parameter of FewShotRegressor must be"),
        ({"method": Prototypical()}, {}, "Prototypical compares classes and cannot learn numbers"),
        ({"method": MAML(), "inner_steps": 2}, {}, "is given beside a method that has its own"),
        ({"inner_steps": 0}, {}, "'inner_steps' parameter of FewShotRegressor"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(settings, given, message):
    X, y, _ = sinusoids(3, 20, 0)
    with pytest.raises(ValueError, match=message):
        FewShotRegressor(**SETTINGS | {"n_episodes": 1} | settings).fit(X, y, **given)


def test_wrong_episodes_and_points_are_named(learner):
    X, y, task = sinusoids(3, 16, 0)
    for call, message in (
        (lambda: learner.evaluate(X, y, task, n_episodes=0), "n_episodes must be an int"),
        (lambda: learner.evaluate(X, y, task, k_shot=9), "but the task 0 of y has 16 samples"),
        (lambda: learner.evaluate(X, y, task[:-1]), "X has 48, .* has 47"),
        (lambda: learner.adapt(X[:4], y[:3]), "X has 4, y has 3"),
        (lambda: learner.adapt(X[:4], ["a"] * 4), "y must hold numbers for a regression"),
        (lambda: learner.adapt(np.ones((4, 2)), y[:4]), "X has 2 features"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert issubclass(FewShotWarning, UserWarning)
