"""ER-ACE: its loss against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from autokit.continual import ERACE, Naive, Replay, chain


@pytest.mark.parametrize("n_before", [1, 4])
def test_new_rows_compare_their_classes_and_rehearsed_rows_all(open_step, n_before):
    step = open_step(n_before=n_before)
    n = n_before + 1
    loss, gradients = step.result(ERACE())
    rehearsed = step.batch_loss() / n + (1 - 1 / n) * step.memory_loss()
    expected = step.batch_loss(units=[4, 5]) + rehearsed
    assert loss == pytest.approx(expected, rel=1e-5)
    assert not gradients[1][6:].any()  # units not in use


def test_only_classes_in_the_batch_are_compared(open_step):
    step = open_step()
    step.y[:] = 5
    step.batch = step.batch._replace(y=step.y)
    loss, _ = step.result(ERACE())
    # one class alone has nothing to be compared with
    expected = step.batch_loss() / 3 + 2 / 3 * step.memory_loss()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_without_a_memory_all_classes_are_compared(open_step):
    step = open_step(has_memory=0.0)
    (loss, gradients), (plain, plain_gradients) = step.result(ERACE()), step.result(Naive())
    assert loss == plain
    for a, b in zip(gradients, plain_gradients, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_another_strategy_adds_stays(open_step):
    step = open_step()
    both = chain(Replay(), ERACE())
    loss, _ = step.result(both, {"0": {}, "1": {}})
    (replay, _), (ace, _), (plain, _) = (step.result(s) for s in (Replay(), ERACE(), Naive()))
    assert loss == pytest.approx(replay + ace - plain, rel=1e-5)
