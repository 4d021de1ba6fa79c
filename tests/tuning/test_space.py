from __future__ import annotations

import json
import math

import numpy as np
import optuna
import pytest

from autokit.tuning import Categorical, Float, Int
from autokit.tuning.space import Space, distribution, entries_of


def make_space(**dimensions):
    return Space(tuple(entries_of({n: (n, d, None) for n, d in dimensions.items()})))


def draw(space, n=200, seed=0):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggest(study.ask()) for _ in range(n)]


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_an_empty_space_says_what_to_give():
    with pytest.raises(ValueError, match="'space' parameter is empty.*learning_rate"):
        Space(())


def test_conditions_look_back_whatever_the_order():
    space = make_space(
        c=Float(0, 1, when={"b": 2}),
        b=Int(1, 3, when={"a": "x"}),
        a=Categorical(["x", "y"]),
    )
    assert [entry.name for entry in space] == ["a", "b", "c"]
    seen = {tuple(values) for values in draw(space)}
    assert seen == {("a",), ("a", "b"), ("a", "b", "c")}
    for values in draw(space):
        assert ("b" in values) == (values["a"] == "x")
        assert ("c" in values) == (values.get("b") == 2)


@pytest.mark.parametrize(
    ("parent", "wanted", "labels"),
    [
        (Categorical(["a", "b", "c"]), {"c", "a"}, ("a", "c")),
        (Categorical([True, False]), True, (True,)),
        (Categorical([(1, 2), (3,)]), (1, 2), ("(1, 2)",)),
        (Categorical([(1, 2), (3,)]), [(1, 2), (3,)], ("(1, 2)", "(3,)")),
        (Categorical([np.tanh, np.sin]), np.sin, ("sin",)),
        (Categorical([np.tanh, np.sin]), "sin", ("sin",)),
        (Categorical([None, 1]), None, (None,)),
        (Categorical(np.array([1, 2])), 2.0, (2,)),
        (Int(1, 9, step=2), range(3, 6, 2), (3, 5)),
        (Int(1, 9), np.int64(4), (4,)),
        (Float(0, 1, step=0.1), 0.1 + 0.2, (0.3,)),
        (Float(0.5, 0.5), 0.5, (0.5,)),
    ],
)
def test_a_condition_takes_a_value_or_several(parent, wanted, labels):
    space = make_space(parent=parent, child=Float(0, 1, when={"parent": wanted}))
    child = space.entries[1]
    assert child.when == (("parent", labels),)
    for values in draw(space):
        assert ("child" in values) == (values["parent"] in labels)
    assert any("child" in values for values in draw(space))


@pytest.mark.parametrize(
    ("parent", "wanted", "message"),
    [
        (Categorical(["adam", "sgd"]), "sgdd", "waits for parent='sgdd', which is not among"),
        (Categorical([1, 2]), True, "parent=True, which is not among"),
        (Int(1, 9, step=2), 4, "parent=4, which is not among"),
        (Int(1, 9), [2, 10], "parent=10, which is not among"),
        (Float(0, 1, step=0.1), 0.37, "parent=0.37"),
        (Float(0, 1), 0.5, "make it a Categorical, an Int or a Float with a step"),
        (Categorical([1, 2]), [], "no value"),
    ],
)
def test_a_condition_that_never_holds_is_an_error(parent, wanted, message):
    with pytest.raises(ValueError, match=message):
        make_space(parent=parent, child=Float(0, 1, when={"parent": wanted}))


def test_a_condition_on_what_is_not_searched_lists_what_is():
    with pytest.raises(ValueError, match="'optimiser', which is not searched.*'optimizer'\\?"):
        make_space(optimizer=Categorical("ab".split()), rate=Float(0, 1, when={"optimiser": "b"}))


def test_conditions_may_not_go_round_in_a_circle():
    with pytest.raises(ValueError, match="circle: a, b"):
        make_space(a=Int(0, 1, when={"b": 1}), b=Int(0, 1, when={"a": 1}))


def test_values_are_plain_and_on_the_grid():
    space = make_space(
        f=Float(0.1, 0.9, step=0.1),
        i=Int(1, 9, step=4),
        c=Categorical(np.array([1, 2])),
        o=Categorical([np.tanh]),
    )
    grid = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}
    for values in draw(space):
        assert values["f"] in grid
        assert values["i"] in (1, 5, 9)
        assert json.loads(json.dumps(values)) == values
        parameters = space.parameters(values)
        assert type(parameters["c"]) is np.int64
        assert parameters["o"] is np.tanh


SPACES = [
    (make_space(a=Int(1, 3), b=Categorical("xy"[:1].split())), 3),
    (make_space(a=Float(0, 1, step=0.25), b=Int(0, 1)), 10),
    (make_space(a=Categorical(["x", "y"]), b=Int(1, 3, when={"a": "x"})), 4),
    (
        make_space(
            a=Int(1, 10), b=Int(1, 3, when={"a": [2, 3]}), c=Categorical([0, 1], when={"b": 1})
        ),
        8 + 2 * (2 + 2),
    ),
]


@pytest.mark.parametrize(("space", "n_points"), SPACES)
def test_counts_its_points_and_lists_them(space, n_points):
    points = list(space.points())
    assert space.n_points == len(points) == n_points
    assert len({json.dumps(point) for point in points}) == n_points
    drawn = {json.dumps(values) for values in draw(space, 400)}
    assert drawn == {json.dumps(point) for point in points}


def test_counting_does_not_walk_through_every_value():
    space = make_space(a=Int(1, 10**9), b=Int(1, 10**9, when={"a": 7}))
    assert space.n_points == 10**9 - 1 + 10**9
    assert make_space(a=Float(0, 1), b=Int(0, 5)).n_points == math.inf


def test_describes_itself_as_json():
    space = make_space(
        a=Categorical(np.array([1.5, 2])),
        b=Float(1, 2, when={"a": {2, 1.5}}),
        c=Categorical([np.tanh, None]),
    )
    assert json.loads(json.dumps(space.describe())) == space.describe()
    again = make_space(
        a=Categorical([1.5, 2.0]),
        b=Float(1.0, 2.0, when={"a": [1.5, 2]}),
        c=Categorical([np.tanh, None]),
    )
    assert space.describe() == again.describe()


def test_distributions_hold_every_value_that_is_drawn():
    space, _ = SPACES[1]
    for values in draw(space):
        for name, known in space.distributions(values).items():
            assert known._contains(known.to_internal_repr(values[name]))
    assert distribution(Float(0.1, 1, log=True)).log
