"""The example runs, and the file learns as the estimator does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "new_classes_on_a_phone.py"


def test_the_file_learns_new_digits(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("new_classes_on_a_phone", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    results = module.main(tmp_path, n_episodes=100)
    assert results["adapt"] > 0.7
    assert results["file"] > results["adapt"] - 0.02
    assert results["agreement"] > 0.97
    assert "5 rows each of [5, 6, 7, 8, 9]: accuracy of the file 0." in capsys.readouterr().out
