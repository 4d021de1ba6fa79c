from __future__ import annotations

import numpy as np
import pytest

from autokit.nas.spaces.dimensions import Choice, Choices


def test_choice_mutates_to_every_other_value_alike():
    rng, choice = np.random.default_rng(0), Choice(("a", "b", "c"))
    draws = [choice.mutate("a", rng) for _ in range(600)]
    assert set(draws) == {"b", "c"}
    assert 240 < draws.count("b") < 360


def test_choices_moves_change_insert_and_drop():
    rng, choices = np.random.default_rng(0), Choices((1, 2), max_length=3)
    reached = {choices.mutate((1, 2), rng) for _ in range(300)}
    changes, drops = {(2, 2), (1, 1)}, {(1,), (2,)}
    inserts = {(1, 1, 2), (2, 1, 2), (1, 2, 2), (1, 2, 1)}
    assert reached == changes | drops | inserts


def test_choices_keep_their_length():
    rng, choices = np.random.default_rng(0), Choices((1, 2), max_length=2, min_length=2)
    assert {len(choices.mutate((1, 2), rng)) for _ in range(50)} == {2}


def test_codes_are_one_hot():
    assert Choice((1, 2, 4)).encode(2).tolist() == [0, 1, 0]
    assert Choices((1, 2), 3).encode((2, 1)).tolist() == [0, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    "dimension, value, nearest",
    [
        (Choice((16, 64)), 60, 64),
        (Choice(("a", "b")), "c", "a"),
        (Choice((True, False)), False, False),
        (Choices((8, 16), 1), (12, 3), (8,)),
        (Choices((8, 16), 3, 3), (16,), (16, 16, 16)),
    ],
)
def test_nearest(dimension, value, nearest):
    assert dimension.nearest(value) == nearest


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Choice(()), "values of a Choice must not be empty"),
        (lambda: Choices((), 2), "values of Choices must not be empty"),
        (lambda: Choices((1,), 1, 2), "min_length <= max_length; got 2 and 1"),
    ],
)
def test_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()
