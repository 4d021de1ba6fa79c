from __future__ import annotations

import importlib.util
from pathlib import Path

from autokit.testing.nas import SpaceContract

PATH = Path(__file__).parents[2] / "examples" / "own_search_space.py"
spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)


class TestFilterBanks(SpaceContract):
    input_shape = (8, 8)

    def make_space(self):
        return example.FilterBanks()


def test_the_example_finds_a_network(capsys):
    classifier = example.main(max_trials=2, epochs=2)
    assert example.FilterBanks().is_possible(classifier.best_architecture_)
    assert "accuracy" in capsys.readouterr().out
