from __future__ import annotations

import os

import keras_tuner
import optuna
import pytest
from keras_tuner import oracles
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from autokit.testing.processes import start, wait_for
from autokit.tuning import Categorical, Float, Int, TunerSearchCV
from autokit.tuning.hyperparameters import to_hyperparameters
from autokit.tuning.oracles import GIVEN_UP, named_oracle, oracle_sampler
from autokit.tuning.reading import read_space
from autokit.tuning.samplers import Exhausted, Task, Wait
from autokit.tuning.space import plain_values

X, y = load_iris(return_X_y=True)
TREE = DecisionTreeClassifier(random_state=0)
SPACE = {
    "max_depth": Int(1, 9, step=2),
    "min_impurity_decrease": Float(1e-5, 1e-1, log=True),
    "ccp_alpha": Float(0.0, 0.3, step=0.1),
    "max_features": Categorical([None, "sqrt", 2]),
    "criterion": Categorical(["gini", "entropy"]),
    "splitter": Categorical(["best", "random"], when={"criterion": "gini"}),
}
GRID = {"max_depth": [1, 2, 3], "criterion": ["gini", "entropy"], "splitter": ["best", "random"]}
NAMES = ["random", "bayesian", "grid"]


def task(space=SPACE, n_trials=40, n_objectives=1, storage=None, seed=0):
    return Task(read_space(space, TREE), n_trials, n_objectives, None, seed, storage)


def run(maker, space, n, score=lambda values: values["max_depth"], study=None):
    """The values of `n` trials, asked and told one by one."""
    study = study or optuna.create_study(direction="maximize")
    proposed = []
    for i in range(n):
        study.sampler = maker(i)
        trial = study.ask()
        proposed.append(space.suggest(trial))
        study.tell(trial, score(proposed[-1]))
    return proposed


def alone(oracle, n, score=lambda values: values["max_depth"]):
    """What the oracle proposes in keras-tuner's own hands."""
    oracle.save = oracle._save_trial = lambda *_: None
    oracle.verbose = 0
    proposed = []
    for _ in range(n):
        trial = oracle.create_trial("tuner")
        proposed.append(dict(trial.hyperparameters.values))
        oracle.update_trial(trial.trial_id, {"score": score(proposed[-1])})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return proposed


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(optuna.logging.INFO)


def search(tuner, n_trials, space=SPACE, storage=None, estimator=TREE, **settings):
    return TunerSearchCV(
        estimator,
        space,
        tuner=tuner,
        n_trials=n_trials,
        cv=2,
        pruner=None,
        random_state=0,
        storage=storage,
        **settings,
    ).fit(X, y)


def table(search):
    return [(trial.values, trial.scores) for trial in search.trials_]


@pytest.mark.parametrize("name", NAMES)
def test_values_lie_in_the_space_with_their_conditions(name):
    space = task().space
    n_trials = 22 if name != "bayesian" else 20  # the first 18 are random, the others cost seconds
    for values in run(oracle_sampler(named_oracle(name, task()), task()), space, n_trials):
        assert set(values) == {e.name for e in space if e.is_active(values)}
        for entry in space:
            if entry.name in values and entry.name != "min_impurity_decrease":
                assert values[entry.name] in plain_values(entry.dimension)
        assert 1e-5 <= values["min_impurity_decrease"] <= 1e-1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:currentThread", "ignore:getName")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_proposes_what_keras_tuner_alone_proposes(name):
    numbers = {"max_depth": Int(1, 9), "ccp_alpha": Float(0.01, 1, log=True)}
    given = task(numbers, seed=3)
    kind = {
        "random": oracles.RandomSearchOracle,
        "bayesian": oracles.BayesianOptimizationOracle,
        "grid": oracles.GridSearchOracle,
    }[name]
    theirs = kind(
        objective=keras_tuner.Objective("score", "max"),
        max_trials=None,
        seed=3,
        hyperparameters=to_hyperparameters(given.space),
    )
    ours = run(oracle_sampler(named_oracle(name, given), given), given.space, 8)
    for mine, other in zip(ours, alone(theirs, 8), strict=True):
        assert mine == pytest.approx(other, rel=1e-12)


def test_seed_0_repeats():
    runs = [run(oracle_sampler(named_oracle("random", task()), task()), task().space, 5)] * 2
    assert runs[0] == runs[1]
    other = task(seed=1)
    assert runs[0] != run(oracle_sampler(named_oracle("random", other), other), other.space, 5)


def test_grid_proposes_every_point_once_and_then_nothing():
    found = search("grid", None, GRID)
    assert found.stopped_ == "exhausted"
    assert len({str(t.values) for t in found.trials_}) == len(found.trials_) == 12


def test_grid_keeps_points_of_one_architecture_together():
    space = {"learning_rate": [0.1, 0.2, 0.3], "max_depth": [1, 2]}
    entries = read_space({"max_depth": [1, 2], "ccp_alpha": [0.1, 0.2, 0.3]}, TREE)
    names = [e.name for e in to_hyperparameters(entries, by_architecture=True).space]
    assert names == ["max_depth", "ccp_alpha"]
    from autokit.tuning.dimensions import Categorical as C
    from autokit.tuning.space import Entry, Space

    entries = Space(tuple(Entry(name, name, C(values)) for name, values in space.items()))
    names = [e.name for e in to_hyperparameters(entries, by_architecture=True).space]
    assert names == ["max_depth", "learning_rate"]


def test_failed_trials_do_not_end_the_search():
    found = search("grid", None, {"max_depth": [-1, -2, -3, -4, -5, 3]})
    assert list(found.cv_results_["status"]) == ["failed"] * 5 + ["complete"]


@pytest.mark.parametrize("objective", [None, "val_loss", keras_tuner.Objective("x", "min")])
def test_an_oracle_of_the_user_is_searched_with_and_stays_as_it_is(objective):
    own = keras_tuner.HyperParameters()
    own.Fixed("unrelated", 3)
    oracle = oracles.RandomSearchOracle(
        objective=objective, max_trials=4, seed=5, hyperparameters=own
    )
    found = search(oracle, 10)
    assert (len(found.trials_), found.stopped_) == (4, "exhausted")
    assert not oracle.trials
    assert [hp.name for hp in oracle.hyperparameters.space] == ["unrelated"]
    assert table(found) == table(search(oracle, 10))


def test_an_oracle_may_narrow_a_parameter_but_not_widen_it():
    own = keras_tuner.HyperParameters()
    own.Int("max_depth", 2, 3)
    oracle = oracles.RandomSearchOracle(max_trials=5, seed=5, hyperparameters=own)
    found = search(oracle, 5, {"max_depth": Int(1, 9)})
    assert {t.values["max_depth"] for t in found.trials_} <= {2, 3}
    with pytest.raises(ValueError, match=r"The oracle proposes 3 for 'max_depth'|proposes 2 for"):
        search(oracle, 5, {"max_depth": Int(7, 9)})


@pytest.mark.parametrize("name", ["random", "grid", "bayesian"])
def test_a_resumed_search_is_the_uninterrupted_one(tmp_path, name):
    # two trials of the Gaussian process, which cost seconds
    space, n = (SPACE, 9) if name != "bayesian" else ({"max_depth": Int(1, 20)}, 5)
    whole = search(name, n, space)
    search(name, 4, space, tmp_path / "search.db")
    resumed = search(name, n, space, tmp_path / "search.db")
    assert table(resumed) == table(whole)


class Dies(DecisionTreeClassifier):
    """A tree whose process is gone at a certain fit."""

    fits = dies_at = 0

    def fit(self, X, y):
        Dies.fits += 1
        if Dies.fits == Dies.dies_at:
            os._exit(9)
        return super().fit(X, y)


def search_grid(path, report, dies_at=0):
    """Search the grid, and write the points that this process knows of."""
    Dies.dies_at = dies_at
    found = search("grid", None, GRID, path, Dies(random_state=0))
    report.write_text("\n".join(str(trial.values) for trial in found.trials_))


def test_killed_and_shared_among_processes_a_grid_loses_and_repeats_nothing(tmp_path):
    path = tmp_path / "search.db"
    assert wait_for([start(search_grid, path, tmp_path / "killed", 10)]) == [9]
    reports = [tmp_path / "a", tmp_path / "b"]
    assert wait_for([start(search_grid, path, report) for report in reports]) == [0, 0]
    for report in reports:
        points = report.read_text().splitlines()
        assert len(points) == len(set(points)) == 12


def test_a_state_without_its_storage_is_not_gone_on_from(tmp_path):
    path = tmp_path / "search.db"
    search("grid", 5, GRID, path)
    path.unlink()
    assert table(search("grid", 5, GRID, path)) == table(search("grid", 5, GRID))


def test_trials_given_up_are_proposed_again():
    given = task(GRID)
    maker = oracle_sampler(named_oracle("grid", given), given)
    study = optuna.create_study(direction="maximize", sampler=maker(0))
    trial = study.ask()
    values = given.space.suggest(trial)
    trial.set_user_attr(GIVEN_UP, True)
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert given.space.suggest(study.ask()) == values


def test_waits_while_trials_run_that_decide_what_comes_next():
    given = task({"max_depth": [1]})
    maker = oracle_sampler(named_oracle("grid", given), given)
    study = optuna.create_study(direction="maximize", sampler=maker(0))
    trial = study.ask()
    given.space.suggest(trial)
    with pytest.raises(Wait):
        study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(Exhausted):
        study.ask()


def test_threads_share_one_grid():
    found = search("grid", None, GRID, n_jobs=3)
    assert len({str(t.values) for t in found.trials_}) == len(found.trials_) == 12


def test_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search("random", 3)
    assert not list(tmp_path.iterdir())


def test_prints_nothing(capsys):
    search("random", 3)
    assert capsys.readouterr() == ("", "")


def test_refuses_what_oracles_cannot_do():
    with pytest.raises(TypeError, match=r"a keras-tuner oracle; got a int"):
        oracle_sampler(3, task())
    several = task(n_objectives=2)
    with pytest.raises(ValueError, match=r"one score; choose tuner='nsga2'"):
        oracle_sampler(named_oracle("random", several), several)
    url = task(storage="sqlite:///x.db")
    with pytest.raises(ValueError, match=r"is a URL.*chief and workers"):
        oracle_sampler(named_oracle("random", url), url)
    with pytest.raises(ValueError, match=r"the estimator counts none; choose 'random'"):
        search("hyperband", 3)
