"""The commands on a CSV file with text, numbers and gaps, from `fit` to `predict`."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from autokit.cli import main

pytestmark = pytest.mark.slow


def table(n_rows=120):
    rng = np.random.default_rng(0)
    shape = rng.choice(["round", "square"], n_rows)
    width = rng.normal(size=n_rows)
    return pd.DataFrame(
        {
            "shape": shape,
            "width": np.where(rng.random(n_rows) < 0.1, np.nan, width),
            "kind": np.where((shape == "round") ^ (width > 0), "apple", "box"),
            "weight": np.where(shape == "round", 10.5, 20.25) + width,
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    table().to_csv(folder / "data.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def fitted(folder):
    """A folder with a classifier trained by `autokit fit`."""
    out = folder / "kinds"
    args = ["fit", folder / "data.csv", "--target", "kind", "--estimator", "keras", "--out", out]
    assert main(list(map(str, args))) == 0
    return out


def test_fit_leaves_model_file_and_report(fitted):
    report = json.loads((fitted / "report.json").read_text())
    assert report["task"] == "classification"
    assert "distinct texts" in report["task_because"]
    assert report["data"]["rows_trained"] == 96
    assert report["data"]["rows_held_out"] == 24
    scores = report["held_out"]
    assert scores["accuracy"] > scores["accuracy_of_the_most_frequent_class"]
    assert report["export"]["size_bytes"] == (fitted / "model.tflite").stat().st_size


def test_predictions_of_both_files_are_the_same(folder, fitted, capsys):
    data = str(folder / "data.csv")
    out = folder / "predictions.csv"
    capsys.readouterr()
    assert main(["predict", str(fitted / "model.autokit"), data, "--out", str(out)]) == 0
    assert "120 predictions written to" in capsys.readouterr().err
    assert main(["predict", str(fitted / "model.tflite"), data, "--proba"]) == 0
    captured = capsys.readouterr()
    # `kind` itself is in the file: a column that the model does not know.
    assert "left out: kind" in captured.err
    lines = captured.out.splitlines()
    assert lines[0] == "prediction,probability_apple,probability_box"
    from_keras = pd.read_csv(out)["prediction"].tolist()
    assert [line.split(",")[0] for line in lines[1:]] == from_keras
    assert set(from_keras) == {"apple", "box"}


def test_export_benchmark_and_info(folder, fitted, capsys):
    small = str(folder / "small.tflite")
    model = str(fitted / "model.autokit")
    int8 = ["export", model, small, "--quantization", "int8", "--trainable", "--target", "kind"]
    assert main([*int8, "--representative-data", str(folder / "data.csv")]) == 0
    out = capsys.readouterr().out
    assert "says the same as Keras" in out and "accuracy 0." in out and "on 120 rows" in out
    assert main(["benchmark", small, "--runs", "5"]) == 0
    out = capsys.readouterr().out
    assert "median" in out and "1 % above" in out and "gives no profile" in out
    assert main(["info", small]) == 0
    out = capsys.readouterr().out
    for line in (
        r"normalisation +inside the file: \(value - mean\) / scale",
        r"serve input categorical +text \(n, 1\)",
        r"train_head output kernel +float32 \(2, \d+\)",
        r"score +accuracy 0\.\d+ on 120 rows",
        r"sha256 +[0-9a-f]{64}",
    ):
        assert re.search(line, out)
    assert "int8" in out and "shape (categorical), width (numeric)" in out and "apple, box" in out
    assert main(["info", model]) == 0
    out = capsys.readouterr().out
    assert "KerasClassifier" in out and "apple, box" in out
    assert main(["export", model, small]) == 1
    assert "exists" in capsys.readouterr().err


def test_info_of_images_and_of_a_file_of_other_make(folder, capsys):
    from autokit import KerasClassifier, export_tflite
    from autokit.deploy import flatbuffer

    X = np.random.default_rng(0).random((40, 6, 6, 1))
    classifier = KerasClassifier(epochs=1, random_state=0).fit(X, np.arange(40) % 3)
    path = export_tflite(classifier, folder / "images.tflite", representative_data=X).path
    assert main(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "image rows of shape (6, 6, 1)" in out and "float32 (n, 6, 6, 1)" in out
    assert main(["predict", str(path), str(folder / "data.csv")]) == 1
    assert "takes rows of shape (6, 6, 1), which a CSV file cannot hold" in capsys.readouterr().err
    model = flatbuffer.parse(path.read_bytes())
    model.metadata = None
    other = folder / "other.tflite"
    other.write_bytes(flatbuffer.slim(flatbuffer.serialize(model)))
    assert main(["info", str(other)]) == 0
    out = capsys.readouterr().out
    assert "input rows" in out and "float32 (n, 6, 6, 1)" in out and "sha256" not in out


def test_every_quantisation_is_offered(capsys):
    from autokit.cli.parser import QUANTIZATIONS
    from autokit.deploy.quantizers import QUANTIZERS

    assert {q or "none" for q in QUANTIZERS} == set(QUANTIZATIONS)
    with pytest.raises(SystemExit):
        main(["export", "model.autokit", "model.tflite", "--target", "kind"])
    assert "--target is a column of --representative-data" in capsys.readouterr().err


def test_latencies_of_a_space(folder, capsys):
    from autokit.cli.parser import SPACES
    from autokit.nas.hardware import read_latencies
    from autokit.nas.spaces import SPACES as KNOWN

    assert set(SPACES) == set(KNOWN)
    out = folder / "latencies.csv"
    args = ["latencies", "mlp", str(out), "--input-shape", "4", "--outputs", "3", "--n", "2"]
    assert main(args) == 0
    architectures, measured = read_latencies(out, KNOWN["mlp"]())
    assert len(architectures) == 2 and (np.asarray(measured) > 0).all()
    assert "2 of 2: " in capsys.readouterr().err


def test_search_for_a_regressor(folder, capsys):
    out = folder / "weights"
    args = ["fit", folder / "data.csv", "--target", "weight", "--time-budget", "3", "--out", out]
    assert main(list(map(str, args))) == 0
    assert "task: regression, because 'weight' holds numbers with fractions" in (
        capsys.readouterr().out
    )
    report = json.loads((out / "report.json").read_text())
    assert set(report["held_out"]) == {"r2", "rmse", "rmse_of_the_mean"}
    assert report["trials"] >= 1
    assert (out / "search_history.png").read_bytes().startswith(b"\x89PNG")
    model = str(out / "model.tflite")
    assert main(["predict", model, str(folder / "data.csv"), "--proba"]) == 1
    assert "--proba needs a classifier" in capsys.readouterr().err


def test_failed_export_leaves_the_model(folder, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise ValueError("no room for tensors")

    monkeypatch.setattr("autokit.deploy.export_tflite", fail)
    out = folder / "unexported"
    args = ["fit", folder / "data.csv", "--target", "kind", "--estimator", "keras", "--out", out]
    assert main([*map(str, args), "--holdout", "0"]) == 1
    assert "not exported: no room for tensors" in capsys.readouterr().err
    assert (out / "model.autokit").exists() and (out / "report.json").exists()


def test_corrupted_model_is_told_in_one_line(folder, fitted, capsys):
    for name in ("model.autokit", "model.tflite"):
        broken = folder / f"broken-{name}"
        broken.write_bytes((fitted / name).read_bytes()[:-200])
        assert main(["info", str(broken)]) == 1
        err = capsys.readouterr().err
        assert err.startswith("autokit: error: ") and err.count("\n") == 1
