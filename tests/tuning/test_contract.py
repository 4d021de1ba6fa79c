from __future__ import annotations

import importlib.util

import optuna
import pytest
from keras_tuner import oracles

from autokit.testing.tuning import KNOWN, TunerContract
from autokit.tuning.samplers import TUNERS

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.mark.parametrize("name", sorted(TUNERS), scope="class")
class TestNamed(TunerContract):
    @pytest.fixture(autouse=True)
    def _named(self, name):
        if name == "gp" and not HAS_TORCH:
            pytest.skip("needs torch")
        self.name = name
        for attribute, value in KNOWN.get(name, {}).items():
            setattr(self, attribute, value)

    def make_tuner(self):
        return self.name


class TestSampler(TunerContract):
    learns = False
    proposes_again = True
    resumes = False
    n_seeds = 1
    n_random = 100

    def make_tuner(self):
        return optuna.samplers.RandomSampler(seed=0)


class TestOracle(TunerContract):
    learns = False
    n_seeds = 1
    n_random = 100

    def make_tuner(self):
        return oracles.RandomSearchOracle(max_trials=200, seed=1)
