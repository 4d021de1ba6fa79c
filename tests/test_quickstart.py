"""The main job, in short."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from autokit import quickstart

FILES = {
    "model.autokit",
    "model_float32.tflite",
    "model_int8.tflite",
    "report.json",
    "search_history.png",
}


def test_split_is_a_stratified_quarter():
    X_train, X_test, y_train, y_test = quickstart.split_digits()
    assert X_train.shape == (1347, 8, 8) and X_test.shape == (450, 8, 8)
    shares = [(y_train == digit).mean() - (y_test == digit).mean() for digit in range(10)]
    assert max(map(abs, shares)) < 0.002


@pytest.mark.slow
def test_main_job_leaves_files_and_a_report(tmp_path):
    console = Console(file=io.StringIO(), width=100)
    report = quickstart.run(time_budget_s=6, out=tmp_path, seed=1, console=console)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert json.loads((tmp_path / "report.json").read_text())["seed"] == 1
    rows = {row.name: row for row in report["models"]}
    assert rows["random forest"].accuracy > 0.97
    in_keras, float32 = rows["network in Keras"], rows["float32 file in LiteRT"]
    int8 = rows["int8 file in LiteRT"]
    # How good a network six seconds find depends on the machine; that the files say what it
    # says does not.
    assert abs(float32.accuracy - in_keras.accuracy) < 0.005
    assert float32.agreement > 0.995
    assert int8.agreement > 0.9
    assert int8.size_bytes < 0.6 * float32.size_bytes
    text = console.file.getvalue()
    assert all(name in text for name in rows)
    assert str(tmp_path) in text.replace("\n", "")
