"""Five tasks of two digits each: what a memory is good for."""

from __future__ import annotations

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from autokit.continual import ContinualModel


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)


def learnt(digits, strategy, scenario, epochs=10):
    """The model after five tasks, and its accuracy on all digits, or on odd against even."""
    X, X_test, y, y_test = digits
    labels, labels_test = (y % 2, y_test % 2) if scenario == "domain" else (y, y_test)
    model = ContinualModel(
        strategy=strategy, scenario=scenario, memory_size=500, epochs=epochs, random_state=0
    )
    for task in range(5):
        rows = y // 2 == task
        model.partial_fit(X[rows], labels[rows])
    return model, model.score(X_test, labels_test)


@pytest.mark.parametrize("strategy", ["replay", "er_ace", "der++", "icarl"])
def test_a_memory_tells_all_classes_apart(digits, strategy):
    model, accuracy = learnt(digits, strategy, "class")
    assert accuracy >= 0.85
    assert model.forgetting_ < 0.25
    assert len(model._learnt.memory) <= 500


def test_without_a_memory_all_but_the_last_classes_are_forgotten(digits):
    model, accuracy = learnt(digits, "naive", "class")
    assert accuracy < 0.3
    assert model.forgetting_ > 0.9


def test_projected_gradients_forget_less_than_plain_ones(digits):
    (projected, accuracy), (plain, base) = (
        learnt(digits, strategy, "domain", epochs=60) for strategy in ("agem", "naive")
    )
    assert accuracy > base + 0.02
    assert projected.forgetting_ < plain.forgetting_
