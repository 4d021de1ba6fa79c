from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import r2_score

from autokit.nas import Budget, MLPArchitecture, MLPSpace, Task, TrainEvaluator
from autokit.training import Batch, TrainingDiverged, predict, split

NET = MLPArchitecture((16,), "relu", "batch", 0.1, False)
OTHER = MLPArchitecture((4,), "relu", None, 0.0, False)


def _classes(n_rows=120):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows, 5)).astype("float32")
    y = (x[:, 0] + x[:, 1] > 0).astype("int32")
    train, validation = split(Batch(x, y), 0.25, 0, stratify=True)
    return Task(train, validation, (5,), 2, "softmax", "sparse_categorical_crossentropy")


def _numbers(weight=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5)).astype("float32")
    y = np.stack([x[:, 0], 3 * x[:, 1]], axis=1).astype("float32")
    train, validation = split(Batch(x, y, weight), 0.25, 0, stratify=False)
    return Task(train, validation, (5,), 2, "linear", "mean_squared_error")


def test_the_score_is_the_validation_accuracy_after_each_epoch():
    task = _classes()
    evaluator = TrainEvaluator(MLPSpace(), task)
    evaluation = evaluator(NET, Budget(4, seed=1))
    model = evaluator.restore(NET, seed=1).model
    guess = predict(model, task.validation.x).argmax(axis=1)
    assert evaluation.score == pytest.approx(np.mean(guess == task.validation.y))
    assert [epoch for epoch, _ in evaluation.rungs] == [1, 2, 3, 4]
    assert evaluation.rungs[-1][1] == evaluation.score
    assert evaluation.status == "complete"
    assert evaluation.n_params == model.count_params()
    assert 0 <= evaluation.setup_seconds <= evaluation.seconds


def test_the_score_of_numbers_is_r2():
    task = _numbers()
    evaluator = TrainEvaluator(MLPSpace(), task)
    evaluation = evaluator(NET, Budget(3, seed=1))
    guess = predict(evaluator.restore(NET, seed=1).model, task.validation.x)
    truth = task.validation.y
    residual, total = ((truth - guess) ** 2).sum(), ((truth - truth.mean(axis=0)) ** 2).sum()
    assert evaluation.score == pytest.approx(1 - residual / total, abs=1e-5)
    assert r2_score(truth[:, 0], guess[:, 0]) < 1


def test_r2_of_weighted_rows():
    weight = np.random.default_rng(1).uniform(0.1, 2, 120).astype("float32")
    task = _numbers(weight)
    truth, w = task.validation.y, task.validation.weight
    guess = np.zeros_like(truth)
    loss = np.average(((truth - guess) ** 2).mean(axis=1), weights=w)
    expected = r2_score(truth, guess, sample_weight=w, multioutput="variance_weighted")
    assert task.score({"val_loss": loss}) == pytest.approx(expected, abs=1e-5)


def test_the_seed_decides_everything():
    evaluator = TrainEvaluator(MLPSpace(), _classes())
    first, again, other = (evaluator(NET, Budget(2, seed=s)) for s in (3, 3, 4))
    assert (first.loss, first.rungs) == (again.loss, again.rungs)
    assert first.loss != other.loss


def test_the_rung_rule_ends_a_trial():
    evaluator = TrainEvaluator(MLPSpace(), _classes())
    asked = []
    budget = Budget(6, keep_on=lambda epoch, score: asked.append((epoch, score)) or epoch < 2)
    evaluation = evaluator(NET, budget)
    assert evaluation.status == "pruned"
    assert evaluation.epochs == 2
    assert tuple(asked) == evaluation.rungs


def test_the_deadline_ends_a_trial_with_a_score():
    evaluator = TrainEvaluator(MLPSpace(), _classes(4000))
    evaluator(NET, Budget(1))  # traced
    started = time.monotonic()
    evaluation = evaluator(NET, Budget(100_000, deadline=started + 0.5))
    assert time.monotonic() - started < 1.5
    assert evaluation.status == "timeout"
    assert evaluation.score is not None


def test_only_the_best_weights_are_kept():
    evaluator = TrainEvaluator(MLPSpace(), _classes(), learning_rate=0.03)
    good = evaluator(NET, Budget(15, seed=0))
    assert set(evaluator.kept) == {NET}
    bad = evaluator(OTHER, Budget(1, seed=0))
    assert bad.key < good.key
    assert set(evaluator.kept) == {NET}
    assert evaluator.restore(OTHER, seed=0) is None


def test_divergence_is_an_error():
    evaluator = TrainEvaluator(MLPSpace(), _numbers(), learning_rate=1e30)
    with pytest.raises(TrainingDiverged):
        evaluator(OTHER, Budget(5))
