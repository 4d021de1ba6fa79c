from __future__ import annotations

import numpy as np
import pytest

from autokit.nas import CNNSpace, FeasibleSpace, MLPSpace
from autokit.nas.strategies.draws import BINS, Draws, find_draws, replay
from autokit.testing.nas import ToySpace


def _random(seed=0):
    rng = np.random.default_rng(seed)
    return Draws(lambda options: int(rng.integers(options[-1])), rng)


@pytest.mark.parametrize("make", [ToySpace, MLPSpace, CNNSpace])
def test_uniform_decisions_sample_the_whole_space(make):
    space, draws, rng = make(), _random(), np.random.default_rng(1)
    ours, theirs = ([space.sample(r) for _ in range(400)] for r in (draws, rng))
    codes = [np.mean([space.encode(a) for a in some], axis=0) for some in (ours, theirs)]
    spread = max(1.0, np.abs(codes[1]).max())
    np.testing.assert_allclose(*codes, atol=0.15 * spread)


@pytest.mark.parametrize("make", [ToySpace, MLPSpace, CNNSpace])
def test_choices_are_all_there_is_to_an_architecture(make):
    space, rng = make(), np.random.default_rng(0)
    for seed in range(20):
        draws = _random(seed)
        architecture = space.sample(draws)
        assert replay(space, draws.choices, rng)[0] == architecture


@pytest.mark.parametrize("make", [ToySpace, MLPSpace, CNNSpace])
def test_draws_of_a_given_architecture_are_found(make):
    space, rng = make(), np.random.default_rng(0)
    for _ in range(20):
        architecture = space.sample(rng)
        draws = find_draws(space, architecture, rng)
        assert replay(space, draws.choices, rng)[0] == architecture


def test_what_is_left_to_chance_is_not_found():
    class Noisy(ToySpace):
        def sample(self, rng):
            return (*super().sample(rng)[:-1], int(rng.normal() > -9) * 4)

    assert find_draws(Noisy(), (0, 0, 0, 0, 1), np.random.default_rng(0)) is None


def test_each_method_gives_what_numpy_would():
    draws = _random()
    assert draws.integers(3, 5) in (3, 4)
    assert draws.integers(1, 2, endpoint=True) in (1, 2)
    assert draws.integers([2, 9], [3, 10]).tolist() == [2, 9]
    assert draws.integers(4, size=(2, 3)).shape == (2, 3)
    assert sorted(draws.permutation(4)) == [0, 1, 2, 3]
    assert sorted(draws.choice(["a", "b", "c"], size=3, replace=False)) == ["a", "b", "c"]
    assert draws.choice(["a", "b"], p=[0.0, 1.0]) == "b"
    values = [1, 2, 3]
    draws.shuffle(values)
    assert sorted(values) == [1, 2, 3]
    assert isinstance(draws.normal(), float)


def test_one_option_is_no_decision_and_too_many_are_left_to_chance():
    draws = _random()
    draws.integers(1)
    draws.integers(2**60)
    assert draws.options == []


def test_a_number_is_a_decision_of_its_bin():
    draws = Draws(lambda options: 3, np.random.default_rng(0))
    numbers = [draws.uniform(10, 18) for _ in range(50)]
    assert draws.options == [BINS] * 50
    assert min(numbers) >= 13 and max(numbers) < 14


def test_no_option_is_an_error():
    with pytest.raises(ValueError, match="at least one option; got 0"):
        _random().integers(0)


def test_a_rejected_sample_is_forgotten():
    space = FeasibleSpace(ToySpace(), lambda point: max(0, 3 - point[0]))
    draws = _random()
    architecture = space.sample(draws)
    assert architecture[0] >= 3
    assert draws.choices == list(architecture)


def test_after_very_many_decisions_chance_goes_on():
    draws = _random()
    draws.integers(3, size=1000)
    assert len(draws.options) == 256
