from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, load_iris

from autokit import export_tflite, load, save
from autokit.nas import (
    CNNSpace,
    FullTraining,
    HardwareConstraints,
    Infeasible,
    MLPArchitecture,
    MLPSpace,
    NASClassifier,
    NASRegressor,
    NB201Space,
    RandomSearch,
    SearchFailed,
    WarmUp,
)

# twelve architectures: their compiled programs are all kept from one test to the next
SMALL = MLPSpace((4, 8, 16), 2, ("relu",), (None,), (0.0,), (False,))
FAST = {"space": SMALL, "max_trials": 3, "time_budget_s": None, "epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def _untimed(result):
    zero = {"seconds": 0.0, "setup_seconds": 0.0}
    return [dataclasses.replace(e, **zero) for e in result.evaluations]


def _same(a, b, X):
    assert _untimed(a.search_result_) == _untimed(b.search_result_)
    assert a.best_architecture_ == b.best_architecture_
    for left, right in zip(a.model_.get_weights(), b.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(a.predict(X), b.predict(X))


def test_finds_a_model(iris):
    X, y = iris
    classifier = NASClassifier(**FAST | {"epochs": "auto"}).fit(X, np.array(["a", "b", "c"])[y])
    assert classifier.score(X, np.array(["a", "b", "c"])[y]) > 0.9
    assert isinstance(classifier.best_architecture_, MLPArchitecture)
    assert len(classifier.search_result_.to_frame()) == 3
    assert classifier.model_.output_shape == (None, 3)
    assert "val_loss" not in classifier.history_, "the refit takes all rows"
    np.testing.assert_allclose(classifier.predict_proba(X).sum(axis=1), 1, rtol=1e-5)


def test_the_search_starts_from_the_default_of_the_space(iris):
    classifier = NASClassifier(**FAST).fit(*iris)
    assert classifier.search_result_.evaluations[0].architecture == SMALL.default


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("strategy", ["bayesian", "local_search"])
def test_the_same_seed_gives_the_same_result_bit_for_bit(iris, strategy, n_jobs):
    options = FAST | {"strategy": strategy, "n_jobs": n_jobs, "max_trials": 4}
    first, again = (NASClassifier(**options).fit(*iris) for _ in range(2))
    _same(first, again, iris[0])


def test_the_seed_matters(iris):
    first = NASClassifier(**FAST).fit(*iris)
    other = NASClassifier(**FAST | {"random_state": 1}).fit(*iris)
    assert _untimed(first.search_result_) != _untimed(other.search_result_)


def test_regression_with_several_targets():
    X, y = load_diabetes(return_X_y=True)
    targets = np.stack([y, -1000.0 * y], axis=1)
    regressor = NASRegressor(**FAST | {"epochs": 30}).fit(X, targets)
    assert regressor.predict(X).shape == targets.shape
    assert regressor.score(X, targets) > 0.3
    assert regressor.search_result_.best.score > 0.2


@pytest.mark.slow
def test_images_get_a_cnn():
    digits = load_digits()
    space = CNNSpace(stem_widths=(16,), max_stages=2, max_blocks=1, blocks=("plain",))
    options = {
        "max_trials": 1,
        "time_budget_s": None,
        "epochs": 12,
        "batch_size": 32,
        "random_state": 0,
    }
    classifier = NASClassifier(space, **options).fit(digits.images[:900], digits.target[:900])
    assert classifier.score(digits.images[900:], digits.target[900:]) > 0.85
    auto = NASClassifier(**options)
    auto.encoder_ = classifier.encoder_
    assert isinstance(auto._space(), CNNSpace)


def test_auto_is_mlp_for_tables_and_sequences():
    from autokit.preprocessing import make_encoder

    for X in (np.zeros((9, 4)), np.zeros((9, 20, 3)), np.zeros((9, 4, 4), int)):
        classifier = NASClassifier()
        classifier.encoder_ = make_encoder(X).fit(X)
        assert isinstance(classifier._space(), MLPSpace)


def test_without_refit_the_model_is_the_trials_own(iris):
    X, y = iris
    classifier = NASClassifier(**FAST, refit=False).fit(X, y)
    best = classifier.search_result_.best
    assert classifier.history_["val_accuracy"][-1] == best.score
    again = NASClassifier(**FAST, refit=False).fit(X, y)
    _same(classifier, again, X)


def test_the_network_keeps_its_limits_and_is_measured(iris, tmp_path):
    limits = HardwareConstraints(max_params=150, max_size_bytes=8_000)
    classifier = NASClassifier(**FAST, constraints=limits).fit(*iris)
    assert classifier.model_.count_params() <= 150
    frame = classifier.search_result_.to_frame()
    assert (frame["n_params"] <= 150).all(), "what is counted is never trained in vain"
    best = classifier.search_result_.best
    assert 0 < best.size_bytes <= 8_000
    report = export_tflite(classifier, tmp_path / "x.tflite", representative_data=iris[0])
    assert report.size_bytes <= 8_000


def test_limits_that_cannot_be_kept_are_told(iris):
    with pytest.raises(Infeasible, match="parameters .* % over 10; raise the limit"):
        NASClassifier(**FAST, constraints=HardwareConstraints(max_params=10)).fit(*iris)
    size = HardwareConstraints(max_size_bytes=100)
    with pytest.raises(Infeasible, match="none of 3 .* file size .* over 100 bytes"):
        NASClassifier(**FAST, constraints=size).fit(*iris)


def test_several_objectives_leave_a_pareto_front(iris, tmp_path):
    objectives = ("score", "params")
    limits = HardwareConstraints(max_params=400)
    options = FAST | {"max_trials": 5, "objectives": objectives, "constraints": limits}
    classifier = NASClassifier(**options).fit(*iris)
    front = classifier.pareto_front_
    assert (np.diff(front["score"]) < 0).all() and (np.diff(front["n_params"]) < 0).all()
    assert {e.epochs for e in classifier.search_result_.evaluations} == {3}, "no rung by score"
    best = classifier.search_result_.best
    assert classifier.model_.count_params() == best.n_params
    assert best.score == front["score"].max()
    save(classifier, tmp_path / "x.autokit")
    assert load(tmp_path / "x.autokit").pareto_front_.equals(front)


@pytest.mark.parametrize("schedule", ["full", "halving", "hyperband", FullTraining])
def test_schedules_have_names(iris, schedule):
    classifier = NASClassifier(**FAST | {"max_trials": 2}, schedule=schedule).fit(*iris)
    assert classifier.search_result_.evaluations[0].epochs == 3


@pytest.mark.parametrize("proxy", ["n_params", WarmUp("n_params", n_samples=9, gate=0.5)])
def test_a_proxy_says_where_to_begin(iris, proxy):
    options = FAST | {"epochs": 1, "max_trials": 4}
    classifier = NASClassifier(**options, proxy=proxy).fit(*iris)
    sizes = classifier.search_result_.to_frame()["n_params"].to_numpy()
    assert sizes[1] >= sizes[2] > 200, "so large are four of twelve, and the default is one"


@pytest.mark.slow
def test_a_one_shot_method_is_a_strategy_too(tmp_path):
    digits = load_digits()
    X, y = digits.images[:300], digits.target[:300]
    options = {"strategy": "enas", "time_budget_s": None, "max_trials": 1, "random_state": 0}
    classifier = NASClassifier(NB201Space(n_cells=1, width=4), epochs=2, **options).fit(X, y)
    result = classifier.search_result_
    assert result.best.architecture == classifier.best_architecture_
    assert len(result.supernet.mixtures) == 2
    assert classifier.predict_proba(X).shape == (300, 10)
    with pytest.raises(ValueError, match="'storage' parameter .* must be None with a one-shot"):
        NASClassifier(storage=tmp_path / "x.journal", **options).fit(X, y)
    with pytest.raises(ValueError, match="has no supernet"):
        NASClassifier("mlp", **options).fit(X, y)


def test_a_strategy_may_be_a_class(iris):
    first = NASClassifier(**FAST | {"strategy": RandomSearch}).fit(*iris)
    named = NASClassifier(**FAST | {"strategy": "random"}).fit(*iris)
    _same(first, named, iris[0])


def test_an_evaluator_of_ones_own(iris):
    from autokit.nas import Evaluation

    def smallest(architecture, budget):
        return Evaluation(-1, architecture, -float(sum(architecture.widths)), 0.0, "complete")

    classifier = NASClassifier(**FAST | {"evaluator": smallest, "max_trials": 12}).fit(*iris)
    widths = [sum(e.architecture.widths) for e in classifier.search_result_.evaluations]
    assert sum(classifier.best_architecture_.widths) == min(widths)
    assert classifier.predict(iris[0]).shape == (150,)


def test_parameters_survive_clone_and_fit(iris):
    classifier = NASClassifier(**FAST)
    before = classifier.get_params()
    classifier.fit(*iris)
    assert classifier.get_params() == before
    assert clone(classifier).get_params() == before
    assert not hasattr(classifier, "_started")


@pytest.mark.parametrize("refit", [True, False])
def test_a_search_goes_on_where_it_was_interrupted(iris, tmp_path, monkeypatch, refit):
    from autokit.nas import TrainEvaluator

    X, y = iris
    options = FAST | {"max_trials": 5, "refit": refit}
    whole = NASClassifier(**options).fit(X, y)
    path = tmp_path / "x.journal"
    calls, original = [], TrainEvaluator.__call__

    def counted(self, architecture, budget):
        calls.append(architecture)
        if len(calls) == 4 and not path.with_suffix(".again").exists():
            raise SystemExit
        return original(self, architecture, budget)

    monkeypatch.setattr(TrainEvaluator, "__call__", counted)
    with pytest.raises(SystemExit):
        NASClassifier(**options, storage=path).fit(X, y)
    path.with_suffix(".again").touch()
    calls.clear()
    resumed = NASClassifier(**options, storage=path).fit(X, y)
    assert len(calls) == 2
    _same(whole, resumed, X)
    calls.clear()
    finished = NASClassifier(**options, storage=str(path)).fit(X, y)
    assert not calls
    _same(whole, finished, X)
    more = NASClassifier(**options | {"max_trials": 6}, storage=path).fit(X, y)
    assert len(calls) == 1
    assert _untimed(more.search_result_)[:5] == _untimed(whole.search_result_)


def test_a_search_without_a_seed_goes_on_with_its_own(iris, tmp_path):
    options = FAST | {"random_state": None, "storage": tmp_path / "x.journal"}
    first, again = (NASClassifier(**options).fit(*iris) for _ in range(2))
    _same(first, again, iris[0])


def test_other_data_or_parameters_are_told_apart(iris, tmp_path):
    X, y = iris
    options = FAST | {"storage": tmp_path / "x.journal"}
    NASClassifier(**options).fit(X, y)
    cases = [
        ({"epochs": 4}, X, "epochs was 3, is 4;"),
        ({"random_state": 5}, X, "random_state was"),
        ({"strategy": "random"}, X, "strategy was 'auto', is 'random';"),
        ({"space": "mlp"}, X, "space was"),
        ({}, X[:, :3], "X differs;"),
        ({}, X[::-1], "X differs;"),
    ]
    for change, rows, words in cases:
        with pytest.raises(ValueError, match=f"belongs to another search: {words}"):
            NASClassifier(**options | change).fit(rows, y)
    with pytest.raises(ValueError, match="y differs, sample_weight|sample_weight differs"):
        NASClassifier(**options).fit(X, y, sample_weight=np.ones(150))


def test_the_time_budget_is_kept_and_there_is_a_model(iris):
    X, y = (np.repeat(part, 20, axis=0) for part in iris)
    warm = NASClassifier(**FAST).fit(X, y)
    assert warm.model_ is not None
    for budget in (1.0, 4.0):
        started = time.monotonic()
        options = {"space": SMALL, "time_budget_s": budget, "random_state": 0, "epochs": 200}
        classifier = NASClassifier(**options).fit(X, y)
        assert time.monotonic() - started < budget + 2.0
        assert classifier.predict(X).shape == y.shape
        assert classifier.search_result_.stopped == "time_budget"


def test_if_every_trial_fails_the_cause_is_told(iris):
    with pytest.raises(SearchFailed, match=r"all 3 trials .* TrainingDiverged: The loss stopped"):
        NASClassifier(**FAST | {"learning_rate": 1e30}).fit(*iris)


def test_progress_is_shown(iris, capsys):
    NASClassifier(**FAST, verbose=1).fit(*iris)
    shown = capsys.readouterr().out
    assert "incumbent" in shown and "pruned" in shown and "no clock" in shown


@pytest.mark.parametrize(
    "options, words",
    [
        ({"time_budget_s": 0}, "'time_budget_s' parameter of NASClassifier must be .*float"),
        ({"max_trials": 0}, "'max_trials' parameter of NASClassifier must be .* int"),
        ({"max_trials": None}, "'max_trials' and 'time_budget_s' .* must not both be None"),
        ({"strategy": "evolutoin"}, "'evolution', .*'local_search', .*mean 'evolution'"),
        ({"strategy": 3}, "'strategy' parameter must be one of"),
        ({"space": "cnm"}, "'space' .* one of 'auto', .*'cnn', .*Did you mean 'cnn'"),
        ({"space": 3}, "'space' parameter must be one of"),
        ({"evaluator": "trian"}, "'evaluator' .* one of .*'train'.*Did you mean 'train'"),
        ({"schedule": "halfing"}, "'schedule' parameter must be one of .*Did you mean 'halving'"),
        ({"proxy": "synflo"}, "'proxy' parameter must be one of .*Did you mean 'synflow'"),
        ({"objectives": ("score", "weight")}, "objectives must be of 'score', .*got 'weight'"),
        ({"constraints": 5}, "'constraints' parameter of NASClassifier must be"),
        ({"strategy": "darts", "objectives": ("score", "flops")}, "use evaluator='shared'"),
        ({"evaluator": 3}, "'evaluator' parameter must be one of"),
        ({"n_jobs": 0}, "'n_jobs' parameter of NASClassifier must not be 0"),
        ({"epochs": 0}, "'epochs' parameter of NASClassifier"),
        ({"validation_fraction": 1.0}, "'validation_fraction' parameter of NASClassifier"),
        ({"space": "cnn"}, "'space' parameter is a cnn, which takes images"),
    ],
)
def test_bad_parameters_are_named(iris, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        NASClassifier(**FAST | options).fit(*iris)
    assert "\n" not in str(caught.value)


def test_a_bad_storage_is_told_before_anything_trains(iris, tmp_path):
    started = time.monotonic()
    with pytest.raises(FileNotFoundError, match="make the folder"):
        NASClassifier(storage=tmp_path / "no" / "x.journal").fit(*iris)
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(ValueError, match="is not the journal of a search"):
        NASClassifier(storage=tmp_path / "text", random_state=0).fit(*iris)
    assert time.monotonic() - started < 2


def test_one_row_is_not_enough():
    with pytest.raises(ValueError, match="needs at least 2 rows"):
        NASRegressor(**FAST).fit([[1.0, 2.0]], [3.0])
