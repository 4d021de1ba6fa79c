"""The example runs, and shows what it is there to show."""

from __future__ import annotations

import importlib.util
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "task_after_task.py"


def test_the_memory_keeps_what_is_forgotten_without(tmp_path):
    spec = importlib.util.spec_from_file_location("task_after_task", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    accuracies = module.main(tmp_path, epochs=5)
    assert accuracies["naive"] < 0.3
    assert accuracies["replay"] > 0.7
    names = {"digits.tflite", "naive.png", "replay.png", "naive.autokit", "replay.autokit"}
    assert {path.name for path in tmp_path.iterdir()} == names
