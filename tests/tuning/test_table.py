"""The table of a search, against scikit-learn's own way of making it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV

from autokit.tuning.dimensions import Categorical, Float, Int
from autokit.tuning.space import Space, entries_of
from autokit.tuning.table import cv_results
from autokit.tuning.trial import Trial

DIMENSIONS = {
    "depth": Int(1, 5),
    "rate": Float(0.1, 1.0, when={"kind": "a"}),
    "kind": Categorical(["a", "b", None]),
    "fast": Categorical([True, False]),
}
SPACE = Space(tuple(entries_of({name: (name, d, None) for name, d in DIMENSIONS.items()})))


def trial_of(number, values, scores, **settings):
    folds = tuple({"score": score} for score in scores)
    times = tuple(0.5 + k for k in range(len(folds)))
    return Trial(number, values, scores=folds, fit_times=times, score_times=times, **settings)


TRIALS = [
    trial_of(0, {"kind": "a", "fast": True, "depth": 1, "rate": 0.5}, [0.5, 0.7]),
    trial_of(1, {"kind": "b", "fast": False, "depth": 2}, [0.9, 0.9]),
    trial_of(2, {"kind": None, "fast": True, "depth": 5}, [0.2], status="pruned", epochs=3),
    trial_of(3, {"kind": "b", "fast": True, "depth": 4}, [0.9, 0.9]),
    trial_of(4, {"kind": "b", "fast": True, "depth": 3}, [], status="failed", error="no"),
]


def test_columns_and_types_are_grid_searchs():
    complete = [t for t in TRIALS if t.status == "complete"]
    ours = cv_results(complete, SPACE, 2)
    search = GridSearchCV(DummyClassifier(), {})
    theirs = search._format_results(
        [SPACE.parameters(t.values) for t in complete],
        2,
        [
            {"fit_time": f, "score_time": f, "test_scores": fold["score"]}
            for t in complete
            for f, fold in zip(t.fit_times, t.scores, strict=True)
        ],
    )
    assert set(theirs) - set(ours) == set()
    for key, column in theirs.items():
        if key == "params":
            assert ours[key] == column
        elif key.startswith("param_"):
            assert ours[key].mask.tolist() == np.ma.getmaskarray(column).tolist()
            assert ours[key].tolist() == column.tolist()
            assert ours[key].dtype == column.dtype, key
        else:
            np.testing.assert_allclose(ours[key], column)
            assert ours[key].dtype == column.dtype, key


def test_what_was_not_run_is_nan_and_ranks_last():
    table = cv_results(TRIALS, SPACE, 2)
    assert table["status"].tolist() == ["complete", "complete", "pruned", "complete", "failed"]
    assert table["rank_test_score"].tolist() == [3, 1, 4, 1, 4]
    np.testing.assert_allclose(table["mean_test_score"], [0.6, 0.9, np.nan, 0.9, np.nan])
    np.testing.assert_allclose(table["std_test_score"][:2], [0.1, 0.0], atol=1e-12)
    np.testing.assert_allclose(table["split0_test_score"], [0.5, 0.9, 0.2, 0.9, np.nan])
    assert math.isnan(table["split1_test_score"][2])
    assert table["epochs"].tolist() == [0, 0, 3, 0, 0]
    assert table["param_rate"].mask.tolist() == [False, True, True, True, True]
    assert len(pd.DataFrame(table)) == 5


def test_a_failed_trial_gets_the_error_score():
    table = cv_results(TRIALS, SPACE, 2, error_score=-1.0)
    assert table["mean_test_score"][4] == -1.0
    assert table["rank_test_score"].tolist() == [3, 1, 5, 1, 4]


def test_all_pruned():
    table = cv_results([TRIALS[2]], SPACE, 2)
    assert table["rank_test_score"].tolist() == [1]


def test_train_scores_where_they_were_asked_for():
    trial = Trial(
        0,
        {"kind": "b", "fast": True, "depth": 3},
        scores=({"score": 0.5},),
        train_scores=({"score": 0.75},),
        fit_times=(1.0,),
        score_times=(0.1,),
    )
    table = cv_results([trial], SPACE, 1)
    assert table["mean_train_score"] == pytest.approx([0.75])
    assert "rank_train_score" not in table


def test_a_trial_survives_json():
    trial = trial_of(
        7, {"depth": 1}, [0.5, math.nan], steps=((3, 0.25),), epochs=4, seconds=1.5, worker=2
    )
    copied = Trial.from_json(trial.to_json())
    assert math.isnan(copied.scores[1]["score"])
    assert copied.to_json() == trial.to_json()
