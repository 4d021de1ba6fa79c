from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from autokit.preprocessing.columns import column_kind, levels_of, numbers_of, texts_of


def objects(*values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


UTC_NOON = datetime.datetime(1970, 1, 2, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.array([1, 2], np.int8), [1, 2]),
        (np.array([1.5, np.nan], np.float32), [1.5, np.nan]),
        (np.array([True, False]), [1, 0]),
        (objects(1, 2.5, True, None, decimal.Decimal("0.5")), [1, 2.5, 1, np.nan, 0.5]),
        (objects(1.0, np.nan, pd.NA, np.float32(2)), [1, np.nan, np.nan, 2]),
        (objects(None, None), [np.nan, np.nan]),
        (np.array(["1970-01-02", "NaT"], "datetime64[D]"), [1, np.nan]),
        (objects(datetime.date(1970, 1, 3), None, np.nan, pd.NaT), [2, np.nan, np.nan, np.nan]),
        (objects(UTC_NOON, datetime.datetime(1970, 1, 1, 6)), [1.5, 0.25]),
        (pd.Series([1, None], dtype="Int64"), [1, np.nan]),
        (pd.Series([True, None], dtype="boolean"), [1, np.nan]),
        (pd.Series(pd.to_datetime(["1970-01-02", None])), [1, np.nan]),
        (
            pd.Series([pd.Timestamp("1970-01-02 02:00", tz="Europe/Rome"), pd.NaT]),
            [25 / 24, np.nan],
        ),
        (pd.Series(pd.to_timedelta([36, None], unit="h")), [1.5, np.nan]),
    ],
)
def test_numbers(column, expected):
    assert column_kind(column, "column 0") == "numeric"
    np.testing.assert_allclose(numbers_of(column, "column 0"), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([b"a", b"\xc3\xbc"]), ["a", "ü"]),
        (objects("a", None, np.nan, pd.NA, "", "a"), ["a", "", "", "", "", "a"]),
        (objects("a", 1, 2.0, 2.5, True), ["a", "1", "2", "2.5", "1"]),
        (pd.Series(["a", None], dtype="str"), ["a", ""]),
        (pd.Series(["a", None, "b"], dtype="category"), ["a", "", "b"]),
        (pd.Series([1, 2, None], dtype="category"), ["1", "2", ""]),
        (pd.Series([3, 1], dtype=pd.CategoricalDtype([1, 2, 3])), ["3", "1"]),
        (pd.Series(["", "x", None], dtype="category"), ["", "x", ""]),
        (pd.Series([b"a"], dtype="category"), ["a"]),
        (pd.Series(pd.cut([1, 5], [0, 3, 6])), ["(0, 3]", "(3, 6]"]),
    ],
)
def test_texts(column, expected):
    assert column_kind(column, "column 0") == "categorical"
    assert texts_of(column, "column 0").tolist() == expected


def test_a_number_keeps_its_text_whatever_its_type():
    for column in (np.array([1, 3]), np.array([1.0, 3.0], np.float32), pd.Series([1, 3])):
        assert texts_of(column, "column 0").tolist() == ["1", "3"]
    assert texts_of(np.array([1.0, np.nan, np.nan]), "column 0").tolist() == ["1", "", ""]


def test_levels_are_distinct_and_name_every_row():
    rng = np.random.default_rng(0)
    column = rng.choice(objects("a", "b", None, 1, 1.0, ""), size=100)
    codes, levels = levels_of(column, "column 0")
    assert len(set(levels)) == len(levels)
    assert "" in levels
    plain = {"a": "a", "b": "b", None: "", 1: "1", "": ""}
    assert [levels[c] for c in codes] == [plain[v] for v in column]


def test_text_where_a_number_belongs():
    with pytest.raises(ValueError, match=r"column 'age' holds the text 'old' where numbers belong"):
        numbers_of(objects(1.0, "old"), "column 'age'")
    with pytest.raises(ValueError, match=r"column 2 holds the text 'x'.*pandas\.to_numeric"):
        numbers_of(np.array(["x"]), "column 2")


@pytest.mark.parametrize("read", [column_kind, numbers_of])
def test_a_cell_of_foreign_type(read):
    with pytest.raises(TypeError, match=r"column 0 holds a value of type 'dict'"):
        read(objects(1.0, {"foo": "bar"}), "column 0")


@pytest.mark.parametrize("cell", [{"foo": "bar"}, [1], (1,)])
def test_a_foreign_cell_beside_texts(cell):
    with pytest.raises(TypeError, match="column 0 holds a value of type"):
        levels_of(objects("a", cell), "column 0")


def test_complex_numbers():
    for column in (np.array([1j]), objects(1j)):
        with pytest.raises(ValueError, match="Complex data not supported: X's column 0"):
            column_kind(column, "column 0")


def test_dates_beside_numbers():
    with pytest.raises(TypeError, match="column 0 mixes dates with values of type 'int'"):
        numbers_of(objects(datetime.date(2020, 1, 1), 3), "column 0")
