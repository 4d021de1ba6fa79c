from __future__ import annotations

import json
import random

import numpy as np
import optuna
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from autokit.tuning import Categorical, Float, Int
from autokit.tuning.reading import read_space


def make_pipeline():
    return Pipeline([("scale", StandardScaler()), ("clf", SVC())])


def draw(space, n=200):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(n)]


def test_takes_dimensions_lists_arrays_ranges_and_distributions():
    space = read_space(
        {
            "C": Float(1e-3, 1e3, log=True),
            "degree": range(2, 9, 3),
            "kernel": ("rbf", "poly"),
            "gamma": np.array([0.1, 1.0]),
            "tol": stats.loguniform(1e-5, 1e-2),
            "coef0": stats.norm(),
        },
        SVC(),
    )
    dimensions = {entry.parameter: entry.dimension for entry in space}
    assert dimensions["degree"] == Int(2, 8, step=3)
    assert dimensions["kernel"] == Categorical(["rbf", "poly"])
    assert dimensions["tol"] == Float(1e-5, 1e-2, log=True)
    parameters = space.parameters(draw(space, 1)[0])
    assert SVC().set_params(**parameters).get_params().items() >= parameters.items()
    assert read_space(space, SVC()) is space


def test_a_list_of_one_value_is_a_fixed_parameter():
    space = read_space({"C": [1.0], "degree": [3, 4]}, SVC())
    assert {space.parameters(values)["C"] for values in draw(space)} == {1.0}
    assert space.n_points == 2


def test_a_list_of_dicts_is_their_union():
    space = read_space(
        [
            {"kernel": ["linear"], "C": [1, 10]},
            {"kernel": ["rbf"], "C": [100], "gamma": [0.1, 1, 10]},
        ],
        SVC(),
    )
    assert space.n_points == 2 + 3
    points = [space.parameters(values) for values in space.points()]
    assert points[0] == {"kernel": "linear", "C": 1}
    assert points[-1] == {"kernel": "rbf", "C": 100, "gamma": 10}
    names = [entry.name for entry in space]
    assert len(set(names)) == len(names)
    share = np.mean(["gamma" in space.parameters(values) for values in draw(space, 400)])
    assert 0.4 < share < 0.6
    assert json.loads(json.dumps(space.describe())) == space.describe()


def test_conditions_hold_within_their_dict_of_a_union():
    part = {"kernel": ["linear", "rbf"], "gamma": Float(1, 2, when={"kernel": "rbf"})}
    space = read_space([part, part | {"C": [5]}], SVC())
    for values in draw(space):
        parameters = space.parameters(values)
        assert ("gamma" in parameters) == (parameters["kernel"] == "rbf")


def test_conditions_reach_across_a_pipeline():
    space = read_space(
        {
            "clf__gamma": Float(1e-3, 1, log=True, when={"clf__kernel": "rbf"}),
            "clf__kernel": ["linear", "rbf"],
            "scale__with_mean": Categorical([True, False]),
            "clf__C": Float(1, 2, when={"scale__with_mean": True}),
        },
        make_pipeline(),
    )
    for values in draw(space):
        assert ("clf__gamma" in values) == (values["clf__kernel"] == "rbf")
        assert ("clf__C" in values) == values["scale__with_mean"]


def test_parameters_of_a_searched_estimator_exist_with_the_choices_that_have_them():
    svc, logistic = SVC(), LogisticRegression()
    space = read_space(
        {
            "clf": [svc, logistic, DecisionTreeClassifier()],
            "clf__C": Float(0.1, 10, log=True),
            "clf__gamma": [0.1, 1.0],
            "scale": ["passthrough", StandardScaler()],
            "scale__with_std": [True, False],
        },
        make_pipeline(),
    )
    for values in draw(space):
        parameters = space.parameters(values)
        assert ("clf__C" in parameters) == (parameters["clf"] in (svc, logistic))
        assert ("clf__gamma" in parameters) == (parameters["clf"] is svc)
        assert ("scale__with_std" in parameters) == (parameters["scale"] != "passthrough")
        pipeline = make_pipeline().set_params(**clone(parameters, safe=False))
        assert pipeline.get_params()["clf"] is not parameters["clf"]


def test_the_order_of_the_dict_does_not_matter():
    names = ["clf__C", "clf", "clf__gamma"]
    space = {"clf": [SVC(), LogisticRegression()], "clf__C": [1, 2], "clf__gamma": [1.0, 2.0]}
    random.Random(1).shuffle(names)
    read = read_space({name: space[name] for name in names}, make_pipeline())
    assert read.n_points == 2 * 2 + 2


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (None, "'space' parameter is None"),
        ({}, "'space' parameter is empty: there is nothing to search"),
        ([], "'space' parameter is empty: there is nothing to search"),
        ([{"clf__C": [1]}, {}], "'space' parameter is empty in dict 1"),
        ("clf__C", "must be a dict of parameter names"),
        ([{"clf__C": [1]}, "clf__C"], "must be a dict of parameter names"),
        ({"clf__C": 5}, r"'clf__C' in 'space' must be Float.*Write \[5\] for a single value"),
        ({"clf__kernel": "rbf"}, r"Write \['rbf'\] for a single value"),
        ({"clf__C": {1, 2}}, "must be Float, Int, Categorical, a list"),
        ({"clf__C": []}, "'clf__C' in 'space' is empty"),
        ({"clf__C": np.ones((2, 2))}, r"one-dimensional; got \(2, 2\)"),
        ({1: [2]}, "strings as names; got 1"),
        (
            {"clf__c": [1]},
            r"names 'clf__c', which is no parameter of Pipeline; valid are clf, clf__C, .*"
            r"Did you mean 'clf__C'\?",
        ),
        ({"C": [1]}, "which is no parameter of Pipeline; valid are clf"),
        (
            {"clf": [SVC(), LogisticRegression()], "clf__gama": [1]},
            r"no parameter of any choice of 'clf'; valid are .*Did you mean 'clf__gamma'\?",
        ),
        (
            {"clf__gamma": Float(0, 1, when={"clf__kernal": "rbf"}), "clf__kernel": ["rbf"]},
            r"depends on 'clf__kernal'.*Did you mean 'clf__kernel'\?",
        ),
        (
            {"clf__C": [1], "clf__gamma": Float(0, 1, when={"clf__C": 2})},
            "waits for clf__C=2, which is not among",
        ),
        (
            {"clf__C": stats.norm(), "clf__gamma": Float(0, 1, when={"clf__C": 2})},
            "which has no values to wait for",
        ),
    ],
)
def test_says_what_is_wrong(space, message):
    with pytest.raises(ValueError, match=message):
        read_space(space, make_pipeline())
