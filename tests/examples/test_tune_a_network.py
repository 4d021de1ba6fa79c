from __future__ import annotations

import importlib.util
from pathlib import Path

PATH = Path(__file__).parents[2] / "examples" / "tune_a_network.py"
spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)


def test_the_example_goes_on_where_it_stopped(tmp_path, capsys):
    example.main(tmp_path, n_trials=(2, 6))
    shown = capsys.readouterr().out
    assert "after 2 trials" in shown and "after 6 trials" in shown
    assert "agrees on 100.00%" in shown
    assert (tmp_path / "history.png").stat().st_size > 10_000
    assert (tmp_path / "digits.tflite").exists()
