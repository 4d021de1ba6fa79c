from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest

from autokit.tuning import Categorical, Float, Int
from autokit.tuning.dimensions import grid_value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Float(2, 1), r"low must not be above high in Float\(2, 1\); write Float\(1, 2\)"),
        (lambda: Int(5, 2), r"write Int\(2, 5\)"),
        (lambda: Float(0, 1, log=True), r"low of Float\(0, 1\) must be above 0 for log=True"),
        (lambda: Int(0, 8, log=True), "must be above 0 for log=True"),
        (lambda: Float(-math.inf, 1), "low of .* must be a finite number; got -inf"),
        (lambda: Float(0, math.nan), "high of .* must be a finite number; got nan"),
        (lambda: Float("0", 1), "must be a finite number; got '0'"),
        (lambda: Int(0.5, 2), "low of .* must be a whole number; got 0.5"),
        (lambda: Int(False, 2), "must be a whole number; got False"),
        (lambda: Float(0, 1, step=0), "step of .* must be positive; got 0"),
        (lambda: Float(0.1, 1, step=0.1, log=True), "both log=True and a step"),
        (lambda: Int(1, 9, step=0), "whole number of at least 1; got 0"),
        (lambda: Int(1, 9, step=2, log=True), "both log=True and a step"),
        (lambda: Float(0, 1, when="adam"), "when must be a dict .* got 'adam'"),
        (lambda: Categorical([]), "at least one choice"),
        (lambda: Categorical("adam"), r"Write Categorical\(\['adam'\]\)"),
        (lambda: Categorical({"a", "b"}), "needs a list of choices"),
    ],
)
def test_says_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bounds_end_where_the_last_step_does():
    assert Int(1, 10, step=4).high == 9
    assert Float(0.1, 0.95, step=0.1).high == 0.9
    assert Float(0, 1, step=0.3).high == 0.9
    assert Float(0, 1, step=5).high == 0.0


def test_grid_values_have_no_rounding_errors():
    dimension = Float(0.1, 1.0, step=0.1)
    assert [grid_value(dimension, 0.1 + i * 0.1) for i in range(10)] == [
        0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0
    ]  # fmt: skip
    assert grid_value(dimension, 5.0) == 1.0
    assert grid_value(dimension, -5.0) == 0.1


def test_numbers_become_those_of_python():
    dimension = Float(np.float32(0.5), np.int64(2))
    assert dimension == Float(0.5, 2.0)
    assert type(dimension.low) is type(dimension.high) is float
    assert type(Int(np.int64(1), np.int8(4)).high) is int


@pytest.mark.parametrize(
    "dimension",
    [
        Float(1e-3, 1, log=True, when={"a": [1, 2]}),
        Int(1, 9, step=2, when={"a": "b"}),
        Categorical(["a", None, 1.5], when={"a": True}),
        Categorical([np.zeros(2), np.ones(2)]),
    ],
)
def test_dimensions_are_values(dimension):
    for again in (pickle.loads(pickle.dumps(dimension)), copy.deepcopy(dimension)):
        assert again == dimension
        assert hash(again) == hash(dimension)
    assert dimension != Float(0, 1)


def test_a_condition_is_not_shared_with_the_caller():
    when = {"optimizer": "sgd"}
    dimension = Float(0, 1, when=when)
    when["optimizer"] = "adam"
    assert dimension.when == {"optimizer": "sgd"}


@pytest.mark.parametrize(
    ("choices", "labels"),
    [
        (["adam", None, 0.5, 3, True], ("adam", None, 0.5, 3, True)),
        ([1, 1.0, True], ("1", "1.0", "True")),  # which are all one to a dict
        ([1, "1"], (1, "1")),
        ([math.nan, math.inf, 1.0], ("nan", "inf", 1.0)),
        ([(64,), (64, 32)], ("(64,)", "(64, 32)")),
        ([np.tanh, dict], ("tanh", "dict")),
        ([object(), object()], ("object (0)", "object (1)")),
    ],
)
def test_labels_are_plain_and_all_different(choices, labels):
    dimension = Categorical(choices)
    assert dimension.labels == labels
    assert list(map(type, dimension.labels)) == list(map(type, labels))
    assert dimension.choices == tuple(choices)


def test_choices_keep_their_type_and_labels_lose_numpy():
    dimension = Categorical(np.array([0.1, 1.0]))
    assert type(dimension.choices[0]) is np.float64
    assert type(dimension.labels[0]) is float


def test_a_repeated_choice_counts_once():
    assert Categorical(["a", "b", "a", math.nan, math.nan]).labels == ("a", "b", "nan")
