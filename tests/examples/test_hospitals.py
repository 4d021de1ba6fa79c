"""The example runs, and together the hospitals know more than alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "hospitals.py"


def test_together_they_know_more(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("hospitals", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    results = module.main(tmp_path, n_rounds=15)
    assert results["together"] > 0.9
    assert results["two bits"] > 0.85
    assert results["alone"] < 0.8
    assert results["two bits, MB sent"] < 0.1 * results["together, MB sent"]
    assert (tmp_path / "digits.tflite").exists() and (tmp_path / "hospitals.png").exists()
    assert "together: 0.9" in capsys.readouterr().out
