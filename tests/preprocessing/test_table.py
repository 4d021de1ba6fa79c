from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from autokit.preprocessing import TableEncoder


@parametrize_with_checks([TableEncoder(), TableEncoder(standardize=False, max_categories=2)])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    n = 200
    return pd.DataFrame(
        {
            "age": rng.normal(40, 12, n),
            "city": rng.choice(["Oslo", "Rome", "Zürich"], n, p=[0.2, 0.5, 0.3]),
            "income": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(10, 1, n)),
            "member": rng.random(n) < 0.5,
            "grade": pd.Categorical(rng.choice([1, 2, 3], n)),
        }
    )


def test_numbers_against_scikit_learn():
    X = np.random.default_rng(0).normal(1e6, 3, (500, 7))
    expected = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(TableEncoder().fit_transform(X), expected, rtol=1e-6, atol=1e-6)


def test_frame_against_scikit_learn(frame):
    encoder = TableEncoder().fit(frame)
    income = frame[["income"]].fillna(frame["income"].mean())
    scaled = StandardScaler().fit_transform(frame[["age", "member"]].astype(float))
    spread = frame["income"].std(ddof=0)
    expected = np.column_stack(
        [
            scaled[:, 0],
            (income["income"] - income["income"].mean()) / spread,
            scaled[:, 1],
            frame["income"].isna(),
            OneHotEncoder(sparse_output=False).fit_transform(frame[["city", "grade"]]),
        ]
    )
    np.testing.assert_allclose(encoder.transform(frame), expected, rtol=1e-5, atol=1e-6)
    assert encoder.get_feature_names_out().tolist() == [
        *("age", "income", "member", "income_missing"),
        *("city_Oslo", "city_Rome", "city_Zürich", "grade_1", "grade_2", "grade_3"),
    ]
    assert encoder.encoded_shape_ == (10,)


def test_object_array_is_read_as_the_frame_is(frame):
    array = frame.to_numpy(dtype=object)
    columns = ["age", "city", "income", "member"]
    np.testing.assert_array_equal(
        TableEncoder().fit_transform(array[:, :4]), TableEncoder().fit_transform(frame[columns])
    )


def test_list_that_mixes_numbers_and_texts():
    encoder = TableEncoder().fit([[1.0, "a"], [3.0, "b"]])
    assert encoder.kinds_ == ["numeric", "categorical"]
    np.testing.assert_array_equal(encoder.transform([[3.0, "a"]]), [[1, 1, 0]])


class Frame:
    """The least that a data frame of another library offers."""

    def __init__(self, columns):
        self._columns = {name: np.array(values) for name, values in columns.items()}
        self.columns = list(columns)
        self.dtypes = ["?"] * len(columns)
        self.shape = (len(self._columns[self.columns[0]]), len(columns))

    def __getitem__(self, name):
        return pd.Series(self._columns[name])


def test_frame_of_another_library():
    encoder = TableEncoder().fit(Frame({"n": [1.0, 3.0], "c": ["x", "y"]}))
    assert encoder.feature_names_in_.tolist() == ["n", "c"]
    assert encoder.transform(Frame({"n": [3.0], "c": ["y"]})).tolist() == [[1, 0, 1]]


def test_what_a_mask_hides_is_missing():
    X = np.ma.array([[1, 2], [3, 999]], mask=[[False, False], [False, True]])
    encoder = TableEncoder().fit(X)
    assert encoder.mean_.tolist() == [2, 2]
    assert encoder.missing_ == [1]


def test_unseen_and_missing_categories_are_zero(frame):
    encoder = TableEncoder().fit(frame[["city"]])
    new = pd.DataFrame({"city": ["Rome", "Paris", None, ""]})
    assert encoder.transform(new).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    all_missing = pd.DataFrame({"city": [np.nan, np.nan]})
    assert not encoder.transform(all_missing).any()


def test_most_frequent_categories():
    X = pd.DataFrame({"c": list("aabbbcd")})
    encoder = TableEncoder(max_categories=3).fit(X)
    assert encoder.categories_ == [["a", "b", "c"]]  # c before d: a tie, alphabetical


def test_order_of_rows_does_not_matter(frame):
    shuffled = frame.sample(frac=1, random_state=1)
    here, there = TableEncoder().fit(frame), TableEncoder().fit(shuffled)
    assert here.categories_ == there.categories_
    np.testing.assert_allclose(here.mean_, there.mean_, rtol=1e-12)
    np.testing.assert_allclose(here.scale_, there.scale_, rtol=1e-12)


def test_missing_number_becomes_the_mean():
    X = np.array([[1.0, 5.0], [3.0, 7.0]])
    missing = [[np.nan, 5.0]]
    assert TableEncoder().fit(X).transform(missing).tolist() == [[0, -1]]
    assert TableEncoder(standardize=False).fit(X).transform(missing).tolist() == [[2, 5]]


@pytest.mark.parametrize("value", [0.05068011873981862, 0.1, 1e9 + 1 / 3])
def test_a_constant_column_is_known_in_spite_of_rounding(value):
    encoder = TableEncoder().fit(np.full((207, 1), value))
    assert np.abs(encoder.encode(np.full((3, 1), value + 0.1))).max() == pytest.approx(
        0.1, abs=1e-5
    )


def test_constant_and_empty_columns():
    X = np.column_stack([np.full(50, 0.1), np.full(50, np.nan), np.arange(50.0)])
    encoder = TableEncoder().fit(X)
    assert encoder.scale_[:2].tolist() == [1, 1]
    encoded = encoder.transform(X)
    assert np.abs(encoded[:, :2]).max() < 1e-6
    assert np.isfinite(encoded).all()


def test_fast_path_equals_the_careful_one():
    X = np.random.default_rng(0).normal(3, 5, (50, 6))
    encoder = TableEncoder().fit(X)
    assert encoder._is_plain(X)
    np.testing.assert_array_equal(encoder.encode(X), encoder.encode(X.astype(object)))
    np.testing.assert_array_equal(encoder.encode(X), encoder.encode(pd.DataFrame(X)))


def test_many_rows_equal_few():
    X = np.random.default_rng(0).normal(size=(400_000, 3))
    encoder = TableEncoder().fit(X)
    np.testing.assert_allclose(encoder.mean_, X.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(encoder.scale_, X.std(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(encoder.encode(X)[-5:], encoder.encode(X[-5:]))


def test_set_output(frame):
    encoder = TableEncoder().set_output(transform="pandas")
    encoded = encoder.fit_transform(frame)
    assert isinstance(encoded, pd.DataFrame)
    assert encoded.columns.tolist() == encoder.get_feature_names_out().tolist()
    assert isinstance(encoder.encode(frame), np.ndarray)


def test_in_a_pipeline(frame):
    pipeline = make_pipeline(ColumnTransformer([("t", TableEncoder(), ["age", "city"])]))
    assert pipeline.fit_transform(frame).shape == (200, 4)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_encode_alike(frame, duplicate):
    encoder = TableEncoder().fit(frame)
    np.testing.assert_array_equal(duplicate(encoder).encode(frame), encoder.encode(frame))
    assert not hasattr(clone(encoder), "kinds_")


def test_state_is_plain(frame):
    def is_plain(value):
        if isinstance(value, list | tuple):
            return all(map(is_plain, value))
        return isinstance(value, np.ndarray | str | int | float | bool)

    assert all(map(is_plain, vars(TableEncoder().fit(frame)).values()))


def test_refit_forgets_names(frame):
    encoder = TableEncoder().fit(frame)
    encoder.fit(np.eye(3))
    assert not hasattr(encoder, "feature_names_in_")


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.arange(5.0), ValueError, r"X must have rows and features, got.*\(5,\).*Reshape your"),
        (np.zeros((2, 3, 4)), ValueError, r"got \(2, 3, 4\): found array with dim 3; flatten"),
        ([[1, 2], [3]], ValueError, r"X has ragged rows: row 0 has 2 values and row 1 has 1"),
        (
            np.zeros((0, 3)),
            ValueError,
            r"0 sample\(s\) \(shape=\(0, 3\)\).*TableEncoder: X is empty",
        ),
        (np.zeros((3, 0)), ValueError, r"0 feature\(s\) \(shape=\(3, 0\)\) while a minimum of 1"),
        (np.array([[1.0], [np.inf]]), ValueError, r"Input X contains infinity.*row 1 of column 0"),
        (np.array([[1.0], [-1e39]]), ValueError, r"too large for dtype\('float32'\): -1e\+39"),
        (np.array([[1j]]), ValueError, r"Complex data not supported: X has dtype complex128"),
        (sparse.eye_array(3).tocsr(), TypeError, r"Sparse data was passed as X.*X\.toarray\(\)"),
        ([[{"a": 1}, 2.0]], TypeError, r"column 0 holds a value of type 'dict'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ValueError, r"two columns named 'a'"),
        (pd.DataFrame([[1, 2]], columns=["a", 1]), TypeError, r"column names are of several types"),
        (pd.DataFrame({"a": pd.Categorical([None])}), ValueError, r"X has no value in any column"),
    ],
)
def test_bad_X_at_fit(X, error, message):
    with pytest.raises(error, match=message) as raised:
        TableEncoder().fit(X)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("max_categories", [0, 1.5, None])
def test_bad_max_categories(max_categories):
    with pytest.raises(ValueError, match="max_categories must be an int of at least 1, got"):
        TableEncoder(max_categories=max_categories).fit(np.eye(2))


def test_different_columns_at_predict(frame):
    encoder = TableEncoder().fit(frame)
    with pytest.raises(ValueError, match=r"now missing:\n- city\n"):
        encoder.encode(frame.drop(columns="city"))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- extra\n"):
        encoder.encode(frame.assign(extra=1))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- town\n.*missing:\n- city\n"):
        encoder.encode(frame.rename(columns={"city": "town"}))
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        encoder.encode(frame[frame.columns[::-1]])
    message = "X has 2 features, but KerasClassifier is expecting 5 features as input"
    with pytest.raises(ValueError, match=message):
        encoder.encode(np.eye(2), "KerasClassifier")


def test_names_on_one_side_only(frame):
    numbers = frame[["age", "income"]]
    with pytest.warns(UserWarning, match="but KerasClassifier was fitted with feature names"):
        TableEncoder().fit(numbers).encode(numbers.to_numpy(), "KerasClassifier")
    with pytest.warns(UserWarning, match="X has feature names, but TableEncoder was fitted with"):
        TableEncoder().fit(numbers.to_numpy()).encode(numbers)


def test_texts_where_numbers_belong(frame):
    encoder = TableEncoder().fit(frame)
    bad = frame.assign(age=frame["age"].astype(object))
    bad.loc[3, "age"] = "n/a"
    with pytest.raises(ValueError, match=r"X's column 'age' holds the text 'n/a' where numbers"):
        encoder.encode(bad)
    with pytest.raises(ValueError, match=re.escape("X's column 0 holds the text 'a'")):
        TableEncoder().fit(np.eye(2)).encode(np.array([["a", "b"]]))


def test_infinity_at_predict(frame):
    encoder = TableEncoder().fit(frame)
    bad = frame.copy()
    bad.loc[7, "income"] = -np.inf
    with pytest.raises(ValueError, match=r"contains infinity.*-inf in row 7 of column 'income'"):
        encoder.encode(bad)
    with pytest.raises(ValueError, match="contains infinity"):
        encoder.raw_tensors(bad)
    with pytest.raises(ValueError, match="contains infinity"):
        TableEncoder().fit(np.eye(2)).encode(np.array([[1.0, np.inf]]))
