from __future__ import annotations

import time

from autokit.nas import Evaluation
from autokit.nas.progress import SearchProgress


def test_tells_trial_incumbent_budget_and_pruned_share():
    progress = SearchProgress(max_trials=4, deadline=time.monotonic() + 30)
    progress.trial_started(0, None)
    assert progress.cells()["trial"] == "1 of 4 (0 s)"
    assert progress.cells()["incumbent"] == "-"
    progress.trial_finished(Evaluation(0, 1, 0.9, 0.1, "complete"))
    progress.trial_finished(Evaluation(1, 2, 0.95, 0.1, "pruned"))
    cells = progress.cells()
    assert cells["trial"] == "2 of 4"
    assert cells["incumbent"] == "0.9000"
    assert cells["pruned"] == "50%"
    assert cells["budget"] in ("30 s left", "29 s left")
    progress.refit_started()
    assert progress.cells()["trial"] == "refit"


def test_draws_where_there_is_no_terminal(capsys):
    with SearchProgress() as progress:
        progress.trial_finished(Evaluation(0, 1, 0.875, 0.1, "complete"))
    shown = capsys.readouterr().out
    assert "incumbent" in shown
    assert "0.8750" in shown
    assert "no clock" in shown
