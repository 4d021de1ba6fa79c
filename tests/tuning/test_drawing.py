from __future__ import annotations

import math
import pickle

import numpy as np
import optuna
import pytest
from scipy import stats

from autokit.tuning import Categorical, Float, Int
from autokit.tuning.drawing import as_dimension


@pytest.mark.parametrize(
    ("given", "dimension"),
    [
        (stats.uniform(1, 3), Float(1, 4)),
        (stats.uniform(loc=-1, scale=2), Float(-1, 1)),
        (stats.uniform, Float(0, 1)),
        (stats.loguniform(1e-3, 10), Float(1e-3, 10, log=True)),
        (stats.reciprocal(1, 2, scale=10), Float(10, 20, log=True)),
        (stats.randint(2, 7), Int(2, 6)),
        (stats.randint(2, 7, loc=1), Int(3, 7)),
        (optuna.distributions.FloatDistribution(0, 1, step=0.25), Float(0, 1, step=0.25)),
        (optuna.distributions.IntDistribution(1, 8, log=True), Int(1, 8, log=True)),
        (optuna.distributions.CategoricalDistribution(["a", "b"]), Categorical(["a", "b"])),
    ],
)
def test_bounds_say_it_all(given, dimension):
    assert as_dimension(given) == (dimension, None)


@pytest.mark.parametrize(
    "given",
    [
        stats.norm(1, 2),
        stats.expon(scale=3),
        stats.beta(2, 5),
        stats.cauchy(),
        stats.loguniform(1, 10, loc=1),
        stats.poisson(3),
        stats.geom(0.2),
        stats.binom(5, 0.5),
    ],
)
def test_other_distributions_are_searched_by_their_quantile(given):
    dimension, decode = as_dimension(given)
    assert dimension == Float(0, 1)
    shares = np.random.default_rng(0).uniform(size=500)
    values = [decode(share) for share in shares]
    assert values == [given.ppf(share) for share in shares]
    assert {type(v) for v in values} == {int if hasattr(given.dist, "pmf") else float}
    low, high = given.support()
    for share in (0, 1):
        assert math.isfinite(decode(share))
        assert low <= decode(share) <= high
    assert pickle.loads(pickle.dumps(decode))(0.3) == decode(0.3)
    assert given.dist.name in repr(decode)


def test_an_object_that_only_draws_is_searched_by_its_seed():
    class Dice:
        def rvs(self, random_state=None):
            return random_state.randint(1, 7)

    dimension, decode = as_dimension(Dice())
    assert isinstance(dimension, Int)
    values = [decode(seed) for seed in range(100)]
    assert values == [decode(seed) for seed in range(100)]
    assert set(values) == set(range(1, 7))
    assert type(values[0]) is int
    assert repr(decode).startswith("Draw(")
    assert " at 0x" not in repr(decode)


def test_anything_else_is_no_distribution():
    for given in (5, "adam", {"a": 1}, None, print):
        assert as_dimension(given) is None
