from __future__ import annotations

import pytest

from autokit.nas import Evaluation, FullTraining, SuccessiveHalving
from autokit.nas.schedule import Hyperband


def _told(*scores, rung=3):
    return [
        Evaluation(i, (i,), s, 0.0, "complete", rungs=((1, 0.0), (rung, s), (9, s)))
        for i, s in enumerate(scores)
    ]


@pytest.mark.parametrize(
    "epochs, rungs",
    [(1, ()), (5, (2,)), (9, (3,)), (18, (2, 6)), (81, (3, 9, 27)), (100, (4, 11, 33))],
)
def test_rungs(epochs, rungs):
    assert SuccessiveHalving(epochs).rungs == rungs


def test_the_first_trial_goes_all_the_way():
    rule = SuccessiveHalving(9).keep_on([])
    assert all(rule(epoch, 0.0) for epoch in range(1, 10))


def test_a_third_is_promoted():
    rule = SuccessiveHalving(9).keep_on(_told(0.1, 0.2, 0.3, 0.4, 0.5))
    # six with this one: two go on
    assert rule(3, 0.6)
    assert rule(3, 0.45)
    assert not rule(3, 0.35)
    assert rule(4, 0.0), "judged on rungs only"


def test_ties_go_on():
    assert SuccessiveHalving(9).keep_on(_told(0.5, 0.5))(3, 0.5)


def test_trials_that_never_reached_the_rung_do_not_count():
    rule = SuccessiveHalving(9).keep_on(_told(0.9, rung=2))
    assert rule(3, 0.1)


def test_full_training_has_no_rule():
    assert FullTraining(5).keep_on([]) is None


@pytest.mark.parametrize(
    "epochs, sizes", [(5, [3, 2]), (18, [9, 5, 3]), (81, [27, 12, 6, 4]), (3, [1])]
)
def test_sizes_of_brackets_are_the_formula(epochs, sizes):
    """n_s = ceil((k + 1) / (s + 1) * eta^s)."""
    schedule = Hyperband(epochs)
    assert len(sizes) == len(schedule.rungs) + 1
    once = [len(sizes) - 1 - i for i, size in enumerate(sizes) for _ in range(size)]
    assert [schedule.bracket(n) for n in range(2 * len(once))] == once + once


def test_brackets_spend_about_the_same():
    """With a promotion of exactly 1 / eta, within the rounding of sizes."""
    schedule = Hyperband(81)
    rungs, spent = (*schedule.rungs, 81), {}
    for number in range(27 + 12 + 6 + 4):
        bracket = schedule.bracket(number)
        first = len(rungs) - 1 - bracket
        epochs, alive = rungs[first], 1.0
        for lower, upper in zip(rungs[first:], rungs[first + 1 :], strict=False):
            alive /= schedule.eta
            epochs += alive * (upper - lower)
        spent[bracket] = spent.get(bracket, 0.0) + epochs
    assert max(spent.values()) / min(spent.values()) < 1.5


def test_a_bracket_is_judged_on_its_own_rungs_by_its_own_trials():
    schedule = Hyperband(18)
    scores = [(2, 0.9), (6, 0.9), (18, 0.9)]
    told = [Evaluation(n, (n,), 0.9, 0.0, "complete", rungs=tuple(scores)) for n in range(10)]
    aggressive, middle = (schedule.keep_on(told, number) for number in (8, 10))
    assert not aggressive(2, 0.5)
    assert not aggressive(6, 0.5)
    assert middle(2, 0.5), "the lowest rung is not the middle bracket's"
    assert not middle(6, 0.5), "trial 9 of the same bracket did better"
    assert schedule.keep_on(told[:9], 10)(6, 0.5), "other brackets do not count"
    assert schedule.keep_on(told, 14) is None, "the last bracket finishes every trial"
