"""Folds without common classes, and the scorer over them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import check_cv

from autokit.meta import ClassDisjointKFold, FewShotScorer

Y = np.random.default_rng(0).permutation(np.repeat(list("abcdefg"), [3, 4, 5, 6, 7, 8, 9]))


@pytest.mark.parametrize("settings", [{}, {"shuffle": True, "random_state": 0}])
@pytest.mark.parametrize("n_splits", [2, 3, 7])
def test_folds_share_no_class_and_hold_every_row_once(n_splits, settings):
    splitter = ClassDisjointKFold(n_splits, **settings)
    assert splitter.get_n_splits() == n_splits
    held = []
    for train, test in splitter.split(Y, Y):
        assert not set(Y[train]) & set(Y[test])
        assert sorted([*train, *test]) == list(range(len(Y)))
        held.extend(test)
    assert sorted(held) == list(range(len(Y)))


def test_shuffled_folds_are_the_seeds():
    folds = [
        [
            test.tolist()
            for _, test in ClassDisjointKFold(3, shuffle=True, random_state=s).split(Y, Y)
        ]
        for s in (0, 0, 1)
    ]
    assert folds[0] == folds[1] != folds[2]


def test_labels_alone_decide():
    first = [test.tolist() for _, test in ClassDisjointKFold(3).split(Y, Y)]
    groups = np.zeros(len(Y))
    again = [test.tolist() for _, test in ClassDisjointKFold(3).split(np.zeros((42, 2)), Y, groups)]
    assert first == again
    assert check_cv(ClassDisjointKFold(3)).n_splits == 3


@pytest.mark.parametrize(
    ("n_splits", "y", "message"),
    [
        (8, Y, "n_splits=8 greater than the number of groups: 7"),
        (2, ["a"] * 4, "y has one class, 'a', but ClassDisjointKFold needs at least two"),
        (2, None, "ClassDisjointKFold requires y"),
    ],
)
def test_too_few_classes_say_so(n_splits, y, message):
    with pytest.raises(ValueError, match=message):
        next(ClassDisjointKFold(n_splits).split(Y, y))


class Asked:
    """Answers with what it was asked for."""

    def evaluate(self, X, y, **settings):
        self.mean = (len(X), sorted(settings.items(), key=str))
        return self


def test_a_scorer_asks_for_its_tasks():
    found = FewShotScorer(n_way=4, k_shot=2, n_episodes=7, random_state=3)(Asked(), Y, Y)
    wanted = {"n_way": 4, "k_shot": 2, "n_query": None, "n_episodes": 7, "random_state": 3}
    assert found == (len(Y), sorted(wanted.items(), key=str))
    assert clone(FewShotScorer(4), safe=False) == FewShotScorer(4)
