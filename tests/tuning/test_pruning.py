"""Pruning by steps that mean the same in every trial, and folds that cannot win."""

from __future__ import annotations

import optuna
import pytest

from autokit.tuning.pruning import PRUNERS, PruningJudge, make_pruner, pairs_folds
from autokit.tuning.scoring import HIGHEST


class Handle:
    def __init__(self, prune=False):
        self.reported, self.prune = {}, prune

    def report(self, value, step):
        assert step not in self.reported, "a step is reported once"
        self.reported[step] = value

    def should_prune(self):
        return self.prune


def judge_of(handle, *, by_fold=False, best=None, highest=1.0, horizon=10, n_folds=3):
    return PruningJudge(handle, horizon, n_folds, by_fold, lambda: best, highest)


def test_steps_are_folds_and_epochs_and_values_are_means_so_far():
    handle = Handle()
    judge = judge_of(handle)
    assert not judge.epoch(0, 3, 0.5)
    assert not judge.epoch(0, 10, 0.6)  # the end of the fold says it
    assert not judge.fold([0.6])
    assert not judge.epoch(1, 2, 0.8)
    assert not judge.fold([0.6, 0.9])
    assert handle.reported == pytest.approx({3: 0.5, 10: 0.6, 12: 0.7, 20: 0.75})
    assert judge.steps == list(handle.reported.items())


def test_a_pruner_that_pairs_folds_sees_each_folds_own_score():
    handle = Handle()
    judge = judge_of(handle, by_fold=True)
    assert not judge.epoch(0, 3, 0.1)
    judge.fold([0.6])
    judge.fold([0.6, 0.9])
    assert handle.reported == {0: 0.6, 1: 0.9}


@pytest.mark.parametrize(
    ("scores", "best", "highest", "ends"),
    [
        ([0.5], 0.84, 1.0, True),  # at most (0.5 + 1 + 1) / 3 = 0.8333
        ([0.5], 0.83, 1.0, False),
        ([0.5, 0.9], 0.81, 1.0, True),
        ([0.5], 0.84, float("inf"), False),
        ([-3.0], -0.9, 0.0, True),
        ([0.5], None, 1.0, False),
    ],
)
def test_a_trial_ends_that_could_not_win_with_perfect_folds(scores, best, highest, ends):
    judge = judge_of(Handle(), best=best, highest=highest)
    assert judge.fold(scores) is ends


def test_a_score_that_is_no_number_is_not_shown():
    handle = Handle(prune=True)
    assert not judge_of(handle).epoch(0, 1, float("nan"))
    assert not handle.reported


def test_names_instances_and_none():
    assert make_pruner(None, 10, 3) is None
    own = optuna.pruners.ThresholdPruner(lower=0.1)
    assert make_pruner(own, 10, 3) is own
    for name in PRUNERS:
        assert isinstance(make_pruner(name, 10, 3), optuna.pruners.BasePruner)
    assert pairs_folds(make_pruner("wilcoxon", 1, 3))
    assert not pairs_folds(make_pruner("median", 1, 3))


def test_the_highest_scores_are_scikit_learns():
    from sklearn.metrics import get_scorer_names

    assert set(HIGHEST) <= set(get_scorer_names())
