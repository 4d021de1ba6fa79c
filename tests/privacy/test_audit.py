"""The attack by loss, on models whose losses are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from autokit.privacy import membership_inference
from autokit.privacy.audit import row_losses

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4))
NOISE = RNG.integers(0, 2, 400)


class Told:
    """Gives the labels the probabilities that its rows hold."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X):
        return np.c_[1 - X[:, 0], X[:, 0]]


def told(members, others):
    members, others = np.exp(-np.asarray(members)), np.exp(-np.asarray(others))
    ones = np.ones(max(len(members), len(others)), int)
    return membership_inference(
        Told(), members[:, None], ones[: len(members)], others[:, None], ones[: len(others)]
    )


def test_losses_by_hand():
    audit = told([0.1, 0.2, 0.9, 0.3, 0.35], [0.25, 0.8, 1.0, 1.2])
    # up to 0.35: four of five members, one of four others
    assert audit.advantage == pytest.approx(0.8 - 0.25)
    assert audit.threshold == pytest.approx(0.35)
    assert audit.auc == pytest.approx(16 / 20)
    assert audit.tpr_at_low_fpr == pytest.approx(0.4)
    assert (audit.n_members, audit.n_others) == (5, 4)
    assert audit.standard_error == pytest.approx(math.sqrt(0.8 * 0.2 / 5 + 0.25 * 0.75 / 4))


def test_agrees_with_sklearn_on_the_area():
    members, others = RNG.exponential(1.0, 300).round(1), RNG.exponential(1.5, 200).round(1)
    wanted = roc_auc_score(np.r_[np.ones(300), np.zeros(200)], -np.r_[members, others])
    assert told(members, others).auc == pytest.approx(wanted)


def test_nothing_to_find():
    audit = told([0.5, 0.5], [0.5, 0.5])
    assert audit.advantage == 0 and audit.auc == 0.5 and audit.tpr_at_low_fpr == 0


def test_a_tree_that_learns_by_heart_is_found_out():
    tree = DecisionTreeClassifier(random_state=0).fit(X[:200], NOISE[:200])
    audit = membership_inference(tree, X[:200], NOISE[:200], X[200:], NOISE[200:])
    assert audit.advantage > 0.35
    assert "200 members against 200 others: advantage 0." in str(audit)
    mild = LogisticRegression().fit(X[:200], NOISE[:200])
    assert membership_inference(mild, X[:200], NOISE[:200], X[200:], NOISE[200:]).advantage < 0.25


def test_losses_of_regressors_labels_and_unknown_classes():
    model = LinearRegression().fit(X, X[:, :2])
    np.testing.assert_allclose(row_losses(model, X[:3], X[:3, :2] + [1, 2]), 5.0)
    names = np.array(["cat", "dog"])[NOISE]
    model = LogisticRegression().fit(X, names)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(row_losses(model, X, names), -np.log(proba[range(400), NOISE]))
    assert row_losses(model, X[:1], ["zebra"])[0] == pytest.approx(-math.log(1e-12))


def test_no_rows():
    with pytest.raises(ValueError, match="X_others has no rows"):
        told([0.1], [])
