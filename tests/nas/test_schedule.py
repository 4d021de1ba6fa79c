from __future__ import annotations

import pytest

from autokit.nas import Evaluation, FullTraining, SuccessiveHalving


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
