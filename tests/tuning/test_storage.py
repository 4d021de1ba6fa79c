from __future__ import annotations

import importlib.util
import json
import os

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import GroupKFold, KFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from autokit.persistence.studies import stored_fingerprint
from autokit.tuning import Categorical, Float, Int, TunerSearchCV
from autokit.tuning.storage import TuningStorage
from autokit.tuning.trial import Trial

X, y = load_iris(return_X_y=True)
PRINT = {"X": "sha256:1", "tuner": "tpe"}
SPACE = {
    "max_depth": Int(1, 8),
    "min_samples_leaf": Int(1, 20),
    "ccp_alpha": Float(1e-5, 0.1, log=True),
    "criterion": Categorical(["gini", "entropy"]),
}
TUNERS = ["tpe", "cmaes", "nsga2"]
if importlib.util.find_spec("torch"):
    TUNERS.append("gp")
TRIALS = [
    Trial(0, {"a": 1 / 3, "b": "x"}, scores=({"score": 0.1 + 0.2}, {"score": np.nan}), epochs=3),
    Trial(1, {"a": 0.5}, "pruned", ({"score": 0.25},), steps=((1, 0.5), (4, 1 / 3)), seconds=2.0),
    Trial(2, {"a": 0.75, "b": "y"}, "failed", error="ValueError: no", seconds=0.5),
]


def frozen(trial):
    """The trial as a search's study has it."""
    study = optuna.create_study(direction="maximize")
    asked = study.ask()
    asked.suggest_float("a", 0.1, 1, log=True)
    asked.suggest_categorical("b", ["x", "y", None])
    for step, value in trial.steps:
        asked.report(value, step)
    asked.storage.set_trial_system_attr(asked._trial_id, "sampler:state", "abc")
    states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
    state = optuna.trial.TrialState[states[trial.status]]
    study.tell(asked, 0.5 if trial.status == "complete" else None, state=state)
    return study.trials[0]


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture(params=["journal", "sqlite"])
def path(tmp_path, request):
    return tmp_path / "x" if request.param == "journal" else f"sqlite:///{tmp_path}/x.db"


def tuned(storage=None, n_trials=16, tuner="tpe", scorer=None, **settings):
    several = {"scoring": ["accuracy", "neg_log_loss"], "refit": "accuracy"}
    search = TunerSearchCV(
        DecisionTreeClassifier(),
        SPACE,
        tuner=tuner,
        n_trials=n_trials,
        cv=3,
        storage=storage,
        **{"random_state": 0} | (several if tuner == "nsga2" else {}) | settings,
    )
    return search.fit(X, y)


def untimed(search):
    return [(t.number, t.values, t.status, t.scores, t.steps, t.error) for t in search.trials_]


def test_trials_come_back_to_the_bit(path):
    storage = TuningStorage(path, PRINT)
    kept = [frozen(trial) for trial in TRIALS]
    for trial, one in zip(TRIALS, kept, strict=True):
        storage.write(trial, one)
    assert storage.strangers() == []
    again = TuningStorage(path, PRINT)
    found = again.strangers()
    assert [repr(trial) for trial, _ in found] == [repr(trial) for trial in TRIALS]
    for (_, one), wanted in zip(found, kept, strict=True):
        for name in ("params", "distributions", "values", "intermediate_values", "system_attrs"):
            assert getattr(one, name) == getattr(wanted, name)
        assert one.state == wanted.state and one.datetime_complete == wanted.datetime_complete
        assert one.user_attrs == {}
    assert again.strangers() == []
    assert again.seconds == 2.5


def test_optuna_reads_the_journal(tmp_path):
    path = tmp_path / "x.journal"
    search = tuned(path, n_trials=6)
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.load_study(study_name="autokit", storage=storage)
    assert study.best_value == pytest.approx(search.best_score_)
    assert len(study.trials) == 6
    assert set(study.trials[0].params) == set(SPACE)


def test_a_trial_is_one_line_and_its_announcement_another(tmp_path):
    path = tmp_path / "x.journal"
    storage = TuningStorage(path, PRINT)
    before = path.read_bytes().count(b"\n")
    for n, trial in enumerate(TRIALS, 1):
        assert storage.begin(10)
        storage.write(trial, frozen(trial))
        assert path.read_bytes().count(b"\n") == before + 2 * n


@pytest.mark.parametrize("tuner", TUNERS)
def test_an_interrupted_search_gives_the_table_of_a_whole_one(tmp_path, tuner):
    path = tmp_path / "x.journal"
    whole = tuned(tuner=tuner)
    for n_fits in (8, 17, 20):
        with Interrupting(n_fits):
            interrupted = tuned(path, tuner=tuner)
        assert interrupted.stopped_ == "interrupted" and len(interrupted.trials_) < 16
    again = tuned(path, tuner=tuner)
    assert untimed(again) == untimed(whole)
    assert again.best_params_ == whole.best_params_
    assert untimed(tuned(path, tuner=tuner)) == untimed(whole), "nothing is left to do"


class Interrupting:
    """Interrupts the n-th fit of a tree inside the block."""

    def __init__(self, n):
        self.left, self.fit = n, DecisionTreeClassifier.fit

    def __enter__(self):
        def fit(tree, *args, **kwargs):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
            return self.fit(tree, *args, **kwargs)

        DecisionTreeClassifier.fit = fit

    def __exit__(self, *_):
        DecisionTreeClassifier.fit = self.fit


def test_a_database_resumes_like_a_file(tmp_path):
    path = f"sqlite:///{tmp_path}/x.db"
    tuned(path, n_trials=5)
    assert untimed(tuned(path)) == untimed(tuned())


def test_a_search_can_be_prolonged(tmp_path):
    path = tmp_path / "x"
    tuned(path, n_trials=4)
    longer = tuned(path, n_trials=9, time_budget_s=100.0, verbose=0)
    assert untimed(longer) == untimed(tuned(n_trials=9))


def test_without_a_random_state_that_of_the_storage_is_taken(tmp_path):
    tuned(tmp_path / "x", n_trials=4)
    assert untimed(tuned(tmp_path / "x", random_state=None)) == untimed(tuned())
    first = tuned(tmp_path / "y", n_trials=12, random_state=None)
    again = tuned(tmp_path / "y", n_trials=13, random_state=None)
    assert untimed(again)[:12] == untimed(first)


def test_time_of_earlier_runs_counts(tmp_path):
    path = tmp_path / "x"
    tuned(path, n_trials=2)
    identity = stored_fingerprint(path)
    del identity["format"]
    storage = TuningStorage(path, identity)
    storage.write(Trial(2, {}, "failed", seconds=50.0), frozen(TRIALS[2]))
    storage.close()
    assert len(tuned(path, n_trials=5, time_budget_s=50.0).trials_) == 3
    assert len(tuned(path, n_trials=5, time_budget_s=80.0).trials_) == 5


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"tuner": "cmaes"}, "tuner was 'tpe', is 'cmaes'"),
        ({"pruner": None}, "pruner was 'median', is None"),
        ({"cv": KFold(3)}, "cv differs"),
        ({"random_state": 7}, "random_state was 0, is 7"),
        ({"scoring": "f1_macro"}, "scoring was None, is 'f1_macro'"),
        ({"error_score": "raise"}, "error_score was 'nan', is 'raise'"),
        ({"estimator": DecisionTreeClassifier(max_features=2)}, "estimator.max_features was None"),
        ({"space": SPACE | {"max_depth": Int(1, 9)}}, "space.max_depth was"),
    ],
)
def test_another_search_is_refused_by_name(tmp_path, settings, differs):
    path = tmp_path / "x"
    search = tuned(path, n_trials=1)
    content = path.read_bytes()
    search.set_params(**settings)
    with pytest.raises(ValueError, match="belongs to another search") as caught:
        search.fit(X, y)
    assert differs in str(caught.value) and str(path) in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("settings", [{"pruner": "rose"}, {"tuner": "magic"}, {"scoring": "nice"}])
def test_what_is_refused_leaves_nothing_in_the_storage(tmp_path, settings):
    with pytest.raises(ValueError, match=f"The '{next(iter(settings))}' parameter"):
        tuned(tmp_path / "x", n_trials=2, **settings)
    assert len(tuned(tmp_path / "x", n_trials=2).trials_) == 2


def test_other_data_are_refused_by_name(tmp_path):
    search = tuned(tmp_path / "x", n_trials=1)
    X_other = X.copy()
    X_other[0, 0] += 1e-9
    weights = np.ones(len(y))
    for args, params, name in (
        ((X_other, y), {}, "X"),
        ((X, y), {"sample_weight": weights}, "sample_weight"),
    ):
        with pytest.raises(ValueError, match=rf"another search: {name} (differs|was None)"):
            search.fit(*args, **params)


def test_frames_and_groups_are_known_again(tmp_path):
    frame = pd.DataFrame(X, columns=list("abcd"))
    groups = np.arange(len(y)) % 5
    search = TunerSearchCV(
        DecisionTreeRegressor(),
        {"max_depth": [1, 2, 3]},
        n_trials=2,
        cv=GroupKFold(2),
        storage=tmp_path / "x",
        random_state=0,
    )
    search.fit(frame, y, groups=groups)
    search.fit(frame.set_index(np.arange(len(y))[::-1]), y, groups=groups)
    with pytest.raises(ValueError, match="another search: groups differs"):
        search.fit(frame, y, groups=groups + 1)
    with pytest.raises(ValueError, match="another search: X differs"):
        search.fit(frame.rename(columns={"a": "z"}), y, groups=groups)


def test_the_storage_of_an_architecture_search_is_refused(tmp_path):
    from autokit.nas import SearchStorage

    SearchStorage(tmp_path / "x", {"strategy": "random"}).close()
    with pytest.raises(ValueError, match=r"belongs to another search: strategy was 'random'.* mor"):
        tuned(tmp_path / "x")


def test_it_is_checked_before_any_training(tmp_path):
    class Untouchable(DecisionTreeClassifier):
        def fit(self, *_, **__):
            raise AssertionError("trained")

    def search(storage):
        return TunerSearchCV(Untouchable(), {"max_depth": [1]}, storage=storage)

    with pytest.raises(FileNotFoundError, match="'storage' parameter .* make the folder"):
        search(tmp_path / "no" / "x").fit(X, y)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        search(tmp_path).fit(X, y)
    with pytest.raises(ValueError, match="'storage' parameter .* cannot be opened"):
        search("sqlite:////no/such/folder/x.db").fit(X, y)
    with pytest.raises(ValueError, match="'storage' parameter of TunerSearchCV must be"):
        search(3).fit(X, y)
    foreign = tmp_path / "table.csv"
    foreign.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is not the journal of a search"):
        search(foreign).fit(X, y)
    assert foreign.read_text() == "a,b\n1,2\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_names_the_storage(tmp_path):
    path = tmp_path / "x"
    storage = TuningStorage(path, PRINT)
    kept = path.read_bytes()
    path.unlink()
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"the 'storage' .* could not be written \(No space left"):
        storage.write(TRIALS[0], frozen(TRIALS[0]))
    storage.close()
    path.unlink()
    path.write_bytes(kept)
    assert TuningStorage(path, PRINT).strangers() == []


def test_a_search_whose_disk_fills_up_keeps_what_was_finished(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write, sizes = os.fsync, []

    def fsync(descriptor):
        sizes.append(path.stat().st_size)
        if len(sizes) == 9:
            raise OSError(28, "No space left on device")
        write(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=r"'storage' .* could not be written \(No space left"):
        tuned(path)
    monkeypatch.undo()
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert sum(record["op_code"] == 4 for record in records) >= 2, "whole lines, and trials"
    assert untimed(tuned(path)) == untimed(tuned())


def test_the_directions_fit_the_objectives(path):
    tuned(path, n_trials=2, tuner="nsga2")
    storage = TuningStorage(path, {k: v for k, v in stored_fingerprint(path).items()
                                   if k != "format"}, 2)  # fmt: skip
    assert [len(one.values) for _, one in storage.strangers()] == [2, 2]
