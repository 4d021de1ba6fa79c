from __future__ import annotations

import pytest
from scipy import stats
from sklearn.tree import DecisionTreeClassifier

from autokit import KerasClassifier
from autokit.tuning.job import _most_epochs
from autokit.tuning.reading import read_space


@pytest.mark.parametrize(
    ("space", "most"),
    [
        ({"batch_size": [8, 16]}, 7),
        ({"epochs": [3, 4]}, 4),
        ({"epochs": stats.randint(1, 6)}, 5),
        ({"epochs": stats.binom(9, 0.5)}, 9),
        ([{"epochs": [12]}, {"epochs": [9, 1]}], 12),
        ([{"epochs": [2]}, {"batch_size": [8]}], 7),
    ],
)
def test_most_epochs_of_any_trial(space, most):
    network = KerasClassifier(epochs=7)
    assert _most_epochs(read_space(space, network), network) == most


def test_other_estimators_count_none():
    tree = DecisionTreeClassifier()
    assert _most_epochs(read_space({"max_depth": [1, 2]}, tree), tree) is None
