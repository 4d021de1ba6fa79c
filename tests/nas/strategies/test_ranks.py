from __future__ import annotations

import numpy as np
from scipy.stats import norm

from autokit.nas import Evaluation
from autokit.nas.strategies.ranks import at_all_epochs, normal_scores, objectives


def test_normal_scores_of_distinct_keys():
    z = normal_scores([[3.0], [1.0], [2.0], [-np.inf]])
    np.testing.assert_allclose(z, norm.ppf(np.array([3.5, 1.5, 2.5, 0.5]) / 4))


def test_ties_share_and_the_second_element_decides():
    z = normal_scores([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    assert z[0] == z[1] < z[2]
    np.testing.assert_allclose(z[0], norm.ppf(1.0 / 3))


def _evaluation(number, score, **more):
    return Evaluation(number, (number,), score, None, more.pop("status", "complete"), **more)


def test_order_of_a_single_objective_is_that_of_the_key():
    told = [
        _evaluation(0, 0.5),
        _evaluation(1, 0.9),
        _evaluation(2, 0.99, violation=0.2),
        _evaluation(3, None, violation=0.1, status="infeasible"),
        _evaluation(4, None, status="failed"),
    ]
    z = objectives(told)[:, 0]
    assert np.argsort(-z).tolist() == [1, 0, 3, 2, 4]


def test_order_within_each_of_several_objectives():
    told = [
        _evaluation(0, 0.5, values=(0.5, -1.0)),
        _evaluation(1, 0.9, values=(0.9, -3.0)),
        _evaluation(2, 0.99, values=(0.99, -0.5), violation=0.2),
        _evaluation(3, None, status="failed"),
    ]
    z = objectives(told)
    assert np.argsort(-z[:, 0]).tolist() == [1, 0, 2, 3]
    assert np.argsort(-z[:, 1]).tolist() == [0, 1, 2, 3]


def test_pruned_trials_gain_what_others_gained():
    told = [
        _evaluation(0, 0.9, epochs=9, rungs=((3, 0.6), (9, 0.9))),
        _evaluation(1, 0.8, epochs=9, rungs=((3, 0.7), (9, 0.8))),
        _evaluation(2, 0.5, epochs=3, rungs=((3, 0.5),), status="pruned"),
        _evaluation(3, 0.4, epochs=1, rungs=((1, 0.4),), status="pruned"),
    ]
    scores = [e.score for e in at_all_epochs(told)]
    np.testing.assert_allclose(scores, [0.9, 0.8, 0.5 + 0.2, 0.4])
