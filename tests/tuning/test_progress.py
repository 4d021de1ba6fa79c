from __future__ import annotations

import time

import numpy as np

from autokit.testing.tuning import Bowl
from autokit.tuning import Float, TunerSearchCV
from autokit.tuning.progress import Listeners, SearchProgress
from autokit.tuning.trial import COMPLETE, FAILED, PRUNED, Trial


def make_trial(number, status=COMPLETE, score=None, epochs=0):
    scores = () if score is None else ({"accuracy": score},)
    return Trial(number, {}, status, scores, epochs=epochs)


def test_tells_trial_incumbent_budget_pruned_failed_and_saved():
    progress = SearchProgress("accuracy", 5, time.monotonic() + 30, n_epochs=10)
    progress.trial_started(0, {})
    assert progress.cells()["trial"] == "1 of 5 (0 s)"
    assert progress.cells()["incumbent"] == progress.cells()["saved"] == "-"
    progress.trial_finished(make_trial(0, score=0.75, epochs=10))
    progress.trial_finished(make_trial(1, PRUNED, 0.9, epochs=2))
    progress.trial_finished(make_trial(2, FAILED))
    progress.trial_finished(make_trial(3, score=0.5, epochs=8))
    cells = progress.cells()
    assert cells["trial"] == "4 of 5"
    assert cells["incumbent"] == "0.7500"
    assert cells["of trial"] == "1"
    assert cells["pruned"] == "25%"
    assert cells["failed"] == "1"
    assert cells["saved"] == "29%"  # 8 of 28
    assert cells["budget"] in ("30 s left", "29 s left")
    progress.refit_started()
    assert progress.cells()["trial"] == "refit"


def test_a_search_without_epochs_says_nothing_of_them():
    assert "saved" not in SearchProgress("score").cells()


def test_everybody_hears_of_every_trial():
    parts = SearchProgress("accuracy"), SearchProgress("accuracy")
    listeners = Listeners(*parts)
    listeners.trial_started(0, {})
    listeners.trial_finished(make_trial(0, score=0.5))
    assert [part.cells()["finished"] for part in parts] == ["1", "1"]


def test_a_verbose_search_shows_itself_and_a_silent_one_does_not(capsys):
    settings = {"n_trials": 4, "cv": 2, "random_state": 0, "pruner": None}
    for verbose in (1, 0):
        search = TunerSearchCV(Bowl(), {"x": Float(0, 1)}, verbose=verbose, **settings)
        search.fit(np.zeros((6, 1)))
        shown = capsys.readouterr().out
        if verbose:
            assert f"{search.best_score_:.4f}" in shown
            assert "incumbent" in shown
        else:
            assert shown == ""
