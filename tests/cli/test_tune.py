"""`autokit tune`, from the CSV file to the folder."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from autokit.cli import main
from autokit.cli.parser import PRUNERS, TUNERS, build_parser
from autokit.cli.tuning import default_space

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    rng = np.random.default_rng(0)
    width = rng.normal(size=80)
    shape = rng.choice(["round", "square"], 80)
    kind = np.where((shape == "round") ^ (width > 0), "apple", "box")
    weight = np.where(shape == "round", 1e4, 2e4) + 1e3 * width
    frame = pd.DataFrame({"shape": shape, "width": width, "kind": kind, "weight": weight})
    frame.to_csv(folder / "data.csv", index=False)
    return folder


@pytest.fixture(autouse=True, scope="module")
def few_epochs():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("autokit.cli.tuning.EPOCHS", 15)
        yield


def tune(folder, target, out, *more):
    args = ["tune", folder / "data.csv", "--target", target, "--out", folder / out, "--cv", "2"]
    return main(list(map(str, [*args, *more])))


@pytest.fixture(scope="module")
def tuned(folder, few_epochs):
    assert tune(folder, "kind", "kinds", "--trials", 3, "--storage", folder / "x.journal") == 0
    return folder / "kinds"


def test_it_leaves_model_file_table_picture_and_report(tuned):
    names = {path.name for path in tuned.iterdir()}
    assert names == {
        "model.autokit",
        "model.tflite",
        "report.json",
        "search_history.png",
        "trials.csv",
    }
    report = json.loads((tuned / "report.json").read_text())
    assert report["command"] == "tune" and report["task"] == "classification"
    assert report["held_out"]["accuracy"] > 0.5
    assert report["export"]["size_bytes"] == (tuned / "model.tflite").stat().st_size
    search = report["search"]
    assert sum(search["trials"].values()) == 3 and search["stopped"] == "n_trials"
    assert set(search["best_parameters"]) == set(default_space())
    table = pd.read_csv(tuned / "trials.csv", index_col="trial")
    assert len(table) == 3
    assert table["mean_test_score"].max() == pytest.approx(search["best_score"])
    assert {f"param_{name}" for name in default_space()} <= set(table)


def test_its_model_predicts_and_may_be_fitted_again(folder, tuned, capsys):
    import autokit

    assert main(["predict", str(tuned / "model.tflite"), str(folder / "data.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert set(lines[1:]) == {"apple", "box"}
    model = autokit.load(tuned / "model.autokit")
    best = json.loads((tuned / "report.json").read_text())["search"]["best_parameters"]
    assert {name: model.get_params()[name] for name in best} == best
    data = pd.read_csv(folder / "data.csv")
    model.set_params(epochs=2).fit(data[["shape"]], data["kind"])


def test_a_storage_goes_on(folder, tuned, capsys):
    more = ["--storage", folder / "x.journal", "--no-export"]
    assert tune(folder, "kind", "again", "--trials", 4, *more) == 0
    assert "results are in" in capsys.readouterr().out
    first, again = (pd.read_csv(folder / out / "trials.csv") for out in ("kinds", "again"))
    assert len(again) == 4
    pd.testing.assert_frame_equal(again.drop(columns="rank_test_score")[:3],
                                  first.drop(columns="rank_test_score"))  # fmt: skip
    assert tune(folder, "kind", "third", "--tuner", "random", *more) == 1
    err = capsys.readouterr().err
    assert "belongs to another search: tuner was 'tpe', is 'random'" in err
    assert err.count("\n") == 1


def test_a_regressor_in_a_second(folder, capsys):
    more = ["--time-budget", 1, "--scoring", "neg_mean_absolute_error", "--pruner", "none"]
    assert tune(folder, "weight", "weights", *more, "--no-export", "--holdout", "0") == 0
    out = capsys.readouterr().out
    assert "best neg_mean_absolute_error of 2 folds: -" in out
    report = json.loads((folder / "weights" / "report.json").read_text())
    assert report["search"]["stopped"] == "time_budget_s" and report["search"]["pruner"] == "none"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--scoring", "niceness"], "The 'scoring' parameter must be one of"),
        (["--storage", "/no/such/folder/x"], "make the folder"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_any_training(folder, more, message, capsys):
    assert tune(folder, "kind", "wrong", *more) == 1
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tuner", "magic"], "invalid choice: 'magic'"),
        (["--trials", "0"], "must be at least 1, got 0"),
        (["--cv", "1"], "must be at least 2, got 1"),
        (["--pruner", "rose"], "invalid choice: 'rose'"),
    ],
)
def test_wrong_usage_exits_with_2(more, message, capsys):
    with pytest.raises(SystemExit) as exit:
        main(["tune", "t.csv", "--target", "y", *more])
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_the_names_are_those_of_the_library():
    from autokit.tuning import pruning, samplers

    assert sorted(samplers.TUNERS) == list(TUNERS)
    assert sorted(pruning.PRUNERS) == list(PRUNERS)


def test_help_tells_what_is_searched():
    sub = next(a for a in build_parser()._actions if a.dest == "command").choices["tune"]
    text = " ".join(sub.format_help().split())
    space = default_space()
    assert f"width ({space['model__width'].choices[0]} to" in text
    assert f"batch size ({space['batch_size'].choices[0]} to" in text
    assert "(1e-4 to 3e-2)" in text and space["learning_rate"].high == 3e-2
