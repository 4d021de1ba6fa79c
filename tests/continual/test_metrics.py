"""Scores of a stream, against the formulas by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autokit.continual import metrics

NAN = np.nan
SCORES = np.array([[0.9, 0.2, NAN], [0.7, 0.8, 0.4], [0.95, 0.5, 0.6]])


def test_metrics():
    assert metrics.average_score(SCORES) == pytest.approx((0.95 + 0.5 + 0.6) / 3)
    assert metrics.backward_transfer(SCORES) == pytest.approx((0.05 - 0.3) / 2)
    assert metrics.forward_transfer(SCORES, np.array([NAN, 0.1, 0.1])) == pytest.approx(0.2)
    # the best is looked for before the last experience: a gain counts as negative forgetting
    assert metrics.forgetting(SCORES) == pytest.approx((-0.05 + 0.3) / 2)


def test_experiences_without_held_out_rows_do_not_count():
    scores = SCORES.copy()
    scores[:, 0] = NAN
    assert metrics.average_score(scores) == pytest.approx(0.55)
    assert metrics.forgetting(scores) == pytest.approx(0.3)


def test_one_experience_has_nothing_to_forget():
    one = np.array([[0.9]])
    assert metrics.average_score(one) == 0.9
    values = [metrics.forgetting(one), metrics.backward_transfer(one)]
    assert np.isnan([*values, metrics.forward_transfer(one, np.array([0.1]))]).all()
