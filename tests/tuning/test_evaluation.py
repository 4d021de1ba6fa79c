"""Folds of a trial: what a judge sees, and what ends a trial."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import check_scoring
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autokit import KerasClassifier, NASClassifier
from autokit.tuning.evaluation import Evaluator, OutOfTime, own_network

X, y = load_iris(return_X_y=True)
FOLDS = list(StratifiedKFold(2, shuffle=True, random_state=0).split(X, y))


class Onlooker:
    """A judge that notes what it sees and ends a trial where it is told to."""

    def __init__(self, ends_at=None, ends_after_fold=None):
        self.seen, self.folds = {}, []
        self.ends_at, self.ends_after_fold = ends_at, ends_after_fold

    def epoch(self, fold, epoch, score):
        self.seen[fold, epoch] = score
        return (fold, epoch) == self.ends_at

    def fold(self, scores):
        self.folds.append(list(scores))
        return len(scores) == self.ends_after_fold


def evaluator_of(estimator, **settings):
    return Evaluator(estimator, X, y, FOLDS, check_scoring(estimator), **settings)


def network(epochs=4, **settings):
    return KerasClassifier(epochs=epochs, batch_size=16, random_state=0, **settings)


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_a_judge_sees_what_training_so_long_would_score(in_pipeline):
    def make(epochs):
        final = network(epochs)
        return make_pipeline(StandardScaler(), final) if in_pipeline else final

    judge = Onlooker()
    trial = evaluator_of(make(4)).evaluate({}, {}, judge)
    assert trial.epochs == 8 and trial.status == "complete"
    for k, (train, test) in enumerate(FOLDS):
        for epochs in (1, 3):
            alone = make(epochs).fit(X[train], y[train])
            assert judge.seen[k, epochs] == pytest.approx(alone.score(X[test], y[test]), abs=1e-6)
        assert trial.scores[k]["score"] == pytest.approx(judge.seen[k, 4], abs=1e-6)
    assert judge.folds == [[trial.scores[0]["score"]]], "the last fold ends nothing"


def test_a_trial_that_is_ended_within_a_fold():
    trial = evaluator_of(network()).evaluate({"a": 1}, {}, Onlooker(ends_at=(1, 2)))
    assert trial.status == "pruned" and trial.epochs == 6
    assert len(trial.scores) == len(trial.fit_times) == 1
    assert trial.values == {"a": 1} and trial.mean("score") is None


def test_a_trial_that_is_ended_between_folds():
    estimator = LogisticRegression(max_iter=300)
    trial = evaluator_of(estimator).evaluate({}, {}, Onlooker(ends_after_fold=1))
    assert trial.status == "pruned" and len(trial.scores) == 1 and trial.epochs == 0


def test_the_deadline_ends_a_training_in_the_middle():
    evaluator = evaluator_of(network(epochs=100_000))
    began = time.monotonic()
    with pytest.raises(OutOfTime):
        evaluator.evaluate({}, {}, None, lambda fits: began + 1.5)
    assert time.monotonic() - began < 1.5 + 2.0


def test_a_trial_that_must_finish_trains_less():
    evaluator = evaluator_of(network(epochs=100_000))
    began = time.monotonic()
    trial = evaluator.evaluate({}, {}, None, lambda fits: began + 3.0, must_finish=True)
    assert time.monotonic() - began < 3.0 + 2.0
    assert trial.status == "complete" and len(trial.scores) == 2
    assert 2 <= trial.epochs < 200_000


def test_an_estimator_that_searches_itself_is_watched_for_time_only():
    estimator = NASClassifier(epochs=50_000, max_trials=2, time_budget_s=None, random_state=0)
    assert own_network(estimator) is None
    judge = Onlooker()
    began = time.monotonic()
    with pytest.raises(OutOfTime):
        evaluator_of(estimator).evaluate({}, {}, judge, lambda fits: began + 2.0)
    assert not judge.seen
    assert time.monotonic() - began < 12.0


def test_predictions_through_a_shared_forward_are_the_estimators_own():
    evaluator = evaluator_of(network())
    fitted = [network(2).set_params(random_state=seed).fit(X, y) for seed in (0, 1)]
    expected = [f.predict_proba(X) for f in fitted]
    for estimator in fitted:
        evaluator.share_forward(estimator, estimator.model_)
    # one after the other and back: the weights are each network's own
    for i in (0, 1, 0):
        np.testing.assert_allclose(fitted[i].predict_proba(X), expected[i], atol=1e-6)


class Small:
    """A builder without a hash, as a dataclass is."""

    __hash__ = None

    def __call__(self, input_shape, n_outputs):
        from autokit._backend import keras

        return keras.Sequential(
            [keras.Input(input_shape), keras.layers.Dense(n_outputs, "softmax")]
        )


def test_a_builder_without_a_hash_is_built_anew_each_time():
    trial = evaluator_of(network(2, model=Small())).evaluate({}, {})
    assert trial.status == "complete" and len(trial.scores) == 2
