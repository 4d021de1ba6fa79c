"""The face of continual learning: streams, scenarios, scores, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from autokit import ContinualModel, ContinualRegressor, load, save
from autokit.continual import ContinualWarning, Strategy
from autokit.deploy import TFLiteModel, export_tflite
from autokit.layers import mlp
from autokit.training import TrainingDiverged

DIGITS = load_digits()
CHOSEN = np.isin(DIGITS.target, [0, 1, 4, 7, 8, 9])
X, Y = DIGITS.data[CHOSEN] / 16, DIGITS.target[CHOSEN]
TASKS = np.searchsorted([1.5, 7.5], Y)  # 0 1 | 4 7 | 8 9


def small(shape, n_outputs):
    return mlp(shape, n_outputs, widths=(32,))


def make(strategy="naive", **parameters):
    settings = {"epochs": 4, "batch_size": 16, "learning_rate": 0.01, "random_state": 0}
    return ContinualModel(small, strategy, **(settings | parameters))


def learnt(model, tasks=(0, 1, 2), named=False):
    for t in tasks:
        rows = TASKS == t
        model.partial_fit(X[rows], Y[rows], task=t if named else None)
    return model


@pytest.fixture(scope="module")
def multi_head():
    return learnt(make(), named=True)


@pytest.fixture(scope="module")
def one_head():
    return learnt(make("replay", memory_size=120))


def test_fit_is_partial_fit_in_order():
    streamed = make("replay", scenario="class").fit(X, Y, task_ids=TASKS)
    step_by_step = make("replay", scenario="class")
    for t in range(3):
        rows = TASKS == t
        step_by_step.partial_fit(X[rows], Y[rows], task=t)
    np.testing.assert_array_equal(streamed.predict_proba(X), step_by_step.predict_proba(X))
    np.testing.assert_array_equal(streamed.accuracy_matrix_, step_by_step.accuracy_matrix_)
    assert streamed.tasks_ == [0, 1, 2]


def test_tasks_are_learnt_in_the_order_of_their_first_row():
    order = np.argsort(-TASKS, kind="stable")
    model = make(epochs=1).fit(X[order], Y[order], task_ids=TASKS[order])
    assert model.tasks_ == [2, 1, 0]


def test_without_tasks_fit_is_one_experience():
    model = make(epochs=10).fit(X, Y)
    assert model.score(X, Y) > 0.9
    assert model.accuracy_matrix_.shape == (1, 1)
    assert len(model.history_["loss"]) == 10


def test_a_second_fit_starts_anew(one_head):
    model = clone(one_head).fit(X, Y)
    again = learnt(clone(one_head)).fit(X, Y)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    assert again.tasks_ == [0]


def test_the_scenario_is_what_arrives(one_head, multi_head):
    assert one_head.scenario_ == "class"
    assert multi_head.scenario_ == "task"
    parity = make(epochs=1)
    for t in range(3):
        rows = TASKS == t
        parity.partial_fit(X[rows], Y[rows] % 2)
    assert parity.scenario_ == "domain"
    assert parity.model_.output_shape == (None, 2)


def test_the_strategy_is_chosen_by_the_scenario():
    assert type(learnt(make("auto", epochs=1), [0]).strategy_).__name__ == "Replay"


def test_new_classes_come_at_any_time(one_head):
    assert one_head.classes_.tolist() == [0, 1, 4, 7, 8, 9]
    assert one_head.model_.output_shape == (None, 6)
    proba = one_head.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert one_head.score(X, Y) > 0.85


def test_classes_in_between_take_their_place():
    model = make("joint", epochs=8)
    model.partial_fit(X[TASKS == 1], Y[TASKS == 1])
    before = model.model_(X[:5].astype("float32")).numpy()
    model.partial_fit(X[TASKS != 1], Y[TASKS != 1])
    assert model.classes_.tolist() == [0, 1, 4, 7, 8, 9]
    assert before.shape == (5, 2)
    assert model.score(X, Y) > 0.9


def test_naive_training_forgets_and_the_matrix_tells():
    model = learnt(make(epochs=10))
    matrix = model.accuracy_matrix_
    assert np.diag(matrix).min() > 0.9
    assert matrix[2, 0] < 0.2
    assert np.isnan(matrix[0, 2])
    assert model.forgetting_ == pytest.approx(-model.backward_transfer_)
    assert model.forgetting_ > 0.8
    assert model.average_accuracy_ == pytest.approx(matrix[2].mean())


def test_the_matrix_is_of_rows_that_were_not_trained_on():
    model = learnt(make(validation_fraction=0.25))
    for t, part in enumerate(model._held_out):
        assert len(part["x"]) == pytest.approx(0.25 * np.sum(TASKS == t), abs=1)
    none = learnt(make(validation_fraction=0.0, epochs=1), [0, 1])
    assert np.isnan(none.accuracy_matrix_).all()


def test_one_class_at_a_time():
    model = make("replay", epochs=10)
    for label in (4, 0, 7):
        model.partial_fit(X[label == Y], Y[label == Y])
    rows = np.isin(Y, [0, 4, 7])
    assert model.score(X[rows], Y[rows]) > 0.9


def test_declared_classes_are_known_from_the_start():
    model = make(epochs=1).partial_fit(X[TASKS == 1], Y[TASKS == 1], classes=[7, 4, 0])
    assert model.classes_.tolist() == [0, 4, 7]
    assert model.predict_proba(X[:2]).shape == (2, 3)


def test_each_task_has_its_head(multi_head):
    assert multi_head.score(X, Y, task=TASKS) > 0.9
    proba = multi_head.predict_proba(X[:4], task=1)
    assert (proba[:, [0, 1, 4, 5]] == 0).all()
    np.testing.assert_array_equal(
        multi_head.predict(X, task=TASKS)[TASKS == 2], multi_head.predict(X[TASKS == 2], task=2)
    )


def test_a_task_goes_on_with_its_head():
    model = make(epochs=2)
    rows = np.flatnonzero(TASKS == 0)
    for part in np.array_split(rows, 3):
        model.partial_fit(X[part], Y[part], task="first")
    model.partial_fit(X[TASKS == 1], Y[TASKS == 1], task="second")
    assert model.tasks_ == ["first"] * 3 + ["second"]
    assert model.model_.output_shape == (None, 4)
    assert model.predict(X[:3], task="first").shape == (3,)


def test_one_task_alone_is_a_classifier_and_exports(multi_head, tmp_path):
    part = multi_head.for_task(1)
    rows = X[TASKS == 1]
    np.testing.assert_allclose(
        part.predict_proba(rows), multi_head.predict_proba(rows, 1)[:, [2, 3]], atol=1e-6
    )
    path = tmp_path / "task.tflite"
    export_tflite(part, path)
    assert (TFLiteModel(path).predict(rows) == multi_head.predict(rows, 1)).mean() > 0.99


def test_several_heads_cannot_be_one_file(multi_head, tmp_path):
    with pytest.raises(ValueError, match="for_task"):
        export_tflite(multi_head, tmp_path / "all.tflite")
    assert not list(tmp_path.iterdir())


def test_saved_between_tasks_it_goes_on_as_if_it_had_not_stopped(tmp_path):
    whole = learnt(make("replay", memory_size=50))
    stopped = learnt(make("replay", memory_size=50), [0])
    for t in (1, 2):
        stopped = learnt(load(save(stopped, tmp_path / f"{t}.autokit")), [t])
    np.testing.assert_array_equal(stopped.predict_proba(X), whole.predict_proba(X))
    np.testing.assert_array_equal(stopped.accuracy_matrix_, whole.accuracy_matrix_)
    np.testing.assert_array_equal(stopped._learnt.memory.x, whole._learnt.memory.x)


def test_the_memory_is_bounded_and_reported():
    sizes = []
    model = make("replay", memory_size=30, validation_fraction=0.0, epochs=1, optimizer="sgd")
    for t in range(3):
        learnt(model, [t])
        sizes.append(model.state_size_bytes_)
        assert len(model._learnt.memory) == 30
    assert sizes[1] - sizes[0] < 100
    assert sizes[0] > 30 * X.shape[1] * 4


def test_weak_strategies_warn_once_where_classes_compete():
    model = make("ewc", epochs=1)
    learnt(model, [0])
    with pytest.warns(ContinualWarning, match="near chance by nature.*replay"):
        learnt(model, [1])
    learnt(model, [2])  # warnings are errors


def test_a_strategy_of_ones_own():
    class Doubled(Strategy):
        def objective(self, objective, step):
            def doubled(params, buffers, batch):
                result = objective(params, buffers, batch)
                return result._replace(loss=2.0 * result.loss)

            return doubled

    sgd = {"optimizer": "sgd", "validation_fraction": 0.0}
    twice = learnt(make(Doubled(), learning_rate=0.01, **sgd), [0])
    plain = learnt(make(learning_rate=0.02, **sgd), [0])
    np.testing.assert_allclose(twice.predict_proba(X), plain.predict_proba(X), atol=1e-5)


class TestRefusals:
    """One clear error, and nothing changes."""

    def check(self, model, match, *arguments, error=ValueError, **named):
        before = model.predict_proba(X[:5], **({"task": 0} if model.scenario_ == "task" else {}))
        n_experiences = len(model.tasks_)
        with pytest.raises(error, match=match):
            model.partial_fit(*arguments, **named)
        after = model.predict_proba(X[:5], **({"task": 0} if model.scenario_ == "task" else {}))
        np.testing.assert_array_equal(after, before)
        assert len(model.tasks_) == n_experiences == len(model.accuracy_matrix_)

    def test_a_task_that_was_never_learnt(self, multi_head):
        with pytest.raises(ValueError, match=r"'9' was never learnt; known tasks are \[0, 1, 2\]"):
            multi_head.predict(X, task="9")

    def test_no_task_where_heads_are_many(self, multi_head):
        with pytest.raises(ValueError, match=r"Known tasks are \[0, 1, 2\]"):
            multi_head.predict(X)

    def test_an_experience_without_its_task(self, multi_head):
        self.check(multi_head, "needs the task of each experience", X[:20], Y[:20])

    def test_other_features(self, one_head):
        self.check(one_head, "features", X[:20, :5], Y[:20])

    def test_a_list_of_classes_that_shrinks(self, one_head):
        self.check(one_head, "can only grow", X[:20], Y[:20], classes=[0, 1])

    def test_another_kind_of_label(self, one_head):
        self.check(one_head, "one kind of label", X[:2], ["a", "b"])

    def test_missing_targets(self, one_head):
        self.check(one_head, "contains NaN", X[:2], [0.0, np.nan])

    def test_unequal_lengths(self, one_head):
        self.check(one_head, "inconsistent|samples", X[:3], Y[:2])

    def test_a_loss_that_explodes(self):
        model = learnt(make("replay"), [0])
        model.set_params(learning_rate=1e30, optimizer="sgd")
        rows = TASKS == 1
        self.check(model, "stopped being finite", X[rows], Y[rows], error=TrainingDiverged)

    def test_another_strategy_half_way(self, one_head):
        other = learnt(make(epochs=1), [0]).set_params(strategy="replay")
        self.check(other, "was Naive in the experiences before", X[:20], Y[:20])

    def test_no_memory_to_rehearse(self):
        with pytest.raises(ValueError, match="'memory_size' parameter is 0"):
            make("replay", memory_size=0).fit(X, Y)

    def test_an_unknown_strategy(self):
        with pytest.raises(ValueError, match="'strategy' parameter"):
            make("hope").fit(X, Y)

    def test_a_model_whose_head_cannot_grow(self):
        def pooled(shape, n_outputs):
            from autokit._backend import keras

            return keras.Sequential(
                [keras.Input(shape), keras.layers.Dense(n_outputs), keras.layers.ReLU()]
            )

        with pytest.raises(ValueError, match="ends in a Dense layer"):
            ContinualModel(pooled).fit(X, Y)

    def test_one_class_in_all(self):
        with pytest.raises(ValueError, match="one class"):
            make().fit(X[Y == 0], Y[Y == 0])

    def test_before_fit(self):
        with pytest.raises(NotFittedError):
            make().predict(X)
        with pytest.raises(NotFittedError):
            make().accuracy_matrix_  # noqa: B018

    def test_a_regression_on_class_probabilities(self):
        class Labels(Strategy):
            classifies_only = True

        with pytest.raises(ValueError, match="cannot serve a regression"):
            ContinualRegressor(strategy=Labels()).fit(X, Y.astype(float))
