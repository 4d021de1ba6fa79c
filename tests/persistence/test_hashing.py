from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from autokit import KerasClassifier
from autokit._backend import keras
from autokit.layers import mlp
from autokit.persistence.hashing import settings_of, sha256_of

FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"], "c": pd.Categorical(["u", "v", "u"])})
SAME = [
    (None, None),
    ([1, 2], np.array([1, 2])),
    (FRAME, FRAME.set_index(pd.Index([7, 8, 9]))),
    (np.arange(12.0).reshape(3, 4).T, np.arange(12.0).reshape(3, 4).T.copy()),
    (scipy.sparse.csr_array(np.eye(3)), scipy.sparse.coo_array(np.eye(3))),
    (np.array(["a", None], object), np.array(["a", None], object)),
    ([[1, 2], [3]], [[1, 2], [3]]),
]
DIFFERENT = [
    ([1, 2], [2, 1]),
    ([1, 2], [1.0, 2.0]),
    ([1, 2], [[1, 2]]),
    (["ab", "c"], ["a", "bc"]),
    (np.array(["1"], object), np.array([1], object)),
    (FRAME, FRAME.rename(columns={"a": "z"})),
    (FRAME, FRAME[["b", "a", "c"]]),
    (FRAME, FRAME.assign(b=["x", "y", "z"])),
    (scipy.sparse.csr_array(np.eye(3)), scipy.sparse.csr_array(np.eye(3)[::-1])),
    (np.array([np.arange(2), np.arange(3)], object), np.array([np.arange(2), np.ones(3)], object)),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_equal_data_have_one_hash(one, other):
    assert sha256_of(one) == sha256_of(other)
    assert sha256_of(one).startswith("sha256:") and len(sha256_of(one)) == 71


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_other_data_have_another(one, other):
    assert sha256_of(one) != sha256_of(other)


def test_an_estimator_is_its_class_and_its_parameters():
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, class_weight={1: 2}))
    settings = settings_of("estimator", pipeline)
    assert settings["estimator"] == "sklearn.pipeline.Pipeline"
    assert settings["estimator.logisticregression__C"] == 0.5
    assert settings["estimator.logisticregression__class_weight"] == {"1": 2}
    assert settings["estimator.standardscaler"].endswith("StandardScaler")
    assert settings == settings_of("estimator", make_pipeline(
        StandardScaler(), LogisticRegression(C=0.5, class_weight={1: 2})
    ))  # fmt: skip


def test_numbers_that_json_has_not_are_equal_to_themselves():
    assert settings_of("x", np.nan) == {"x": "nan"} == settings_of("x", float("nan"))
    assert settings_of("x", np.float32(0.5)) == {"x": 0.5}


def test_keras_objects_are_their_configurations():
    def settings(width=4, rate=0.1):
        optimizer = keras.optimizers.SGD(rate, momentum=0.9)
        return settings_of(
            "e", KerasClassifier(model=mlp((3,), 2, widths=(width,)), optimizer=optimizer)
        )

    assert settings() == settings(), "whatever names the layers have been given"
    assert settings() != settings(width=5) and settings() != settings(rate=0.2)


def test_functions_are_their_names():
    part = functools.partial(sorted, reverse=True)
    assert settings_of("f", sorted) == {"f": "builtins.sorted"}
    assert settings_of("f", part) == settings_of("f", functools.partial(sorted, reverse=True))
    assert settings_of("f", part) != settings_of("f", functools.partial(sorted, reverse=False))
