"""CSV files: what becomes a class, what a quantity, and what is refused."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from autokit.cli.csv_files import check_task, decide_task, read_csv, read_rows, read_training


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "a", "b"], "classification"),
        ([True, False, True, True], "classification"),
        ([0, 1, 1, 0], "classification"),
        ([1.0, 2.0, 3.0, 1.0, 2.0, 3.0], "classification"),
        ([0.5, 1.0, 2.0, 1.0], "regression"),
        (list(range(21)) * 10, "regression"),
        (list(range(20)) * 10, "classification"),
        (list(range(12)), "regression"),  # each value once
    ],
)
def test_task_is_decided_by_the_values(values, task):
    decided, why = decide_task(pd.Series(values, name="y"))
    assert decided == task
    assert "'y'" in why


def test_regression_on_text_is_refused():
    with pytest.raises(ValueError, match=r"--task regression needs numbers in 'y'.*'tall'"):
        check_task("regression", pd.Series(["tall", "short"], name="y"))


def test_training_table_leaves_out_rows_without_target(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b,y\n1,x,0\n2,,\n3,z,1\n"))
    table = read_training(path, "y")
    assert table.n_dropped == 1
    assert list(table.X.columns) == ["a", "b"]
    assert table.y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("a,y\n1,2\n", "z", r"--target 'z' is no column of .*'a', 'y'"),
        ("y\n1\n", "y", "no column beside the target 'y'"),
        ("a,y\n1,\n", "y", "target column 'y' of .* is empty"),
        ("a,y\n", "y", "has a header but no rows"),
        ("", "y", "is not a CSV file"),
        ('a,y\n1,2\n1,2,3,4\n"', "y", "is not a CSV file"),
    ],
)
def test_unfit_training_files_are_refused(tmp_path, text, target, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_training(path, target)


def test_binary_file_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(ValueError, match="is not a CSV file"):
        read_csv(path)


def describe(*columns):
    return {"kind": "table", "columns": [{"name": n, "kind": k} for n, k in columns]}


def test_rows_to_predict_have_the_columns_of_the_training(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("zip,extra,a\n01234,9,1.5\n,9,\n")
    X, left_out = read_rows(path, describe(("a", "numeric"), ("zip", "categorical")))
    assert list(X.columns) == ["a", "zip"]
    assert left_out == ["extra"]
    # All cells look like numbers, but the column was text in the training: 01234 stays 01234.
    assert X["zip"][0] == "01234"
    assert X["zip"].isna().tolist() == [False, True]


def test_missing_columns_are_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"lacks the columns 'b', 'c' that"):
        read_rows(path, describe(("a", "numeric"), ("b", "numeric"), ("c", "numeric")))


def test_model_without_column_names_takes_them_in_order(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("p,q\n1,2\n")
    X, left_out = read_rows(path, describe((None, "numeric"), (None, "numeric")))
    assert X.tolist() == [[1, 2]]
    assert left_out == []
    with pytest.raises(ValueError, match="has 2 columns, but the model takes 1"):
        read_rows(path, describe((None, "numeric")))


def test_image_models_take_no_csv(tmp_path):
    with pytest.raises(ValueError, match=r"rows of shape \(8, 8, 1\), which a CSV"):
        read_rows(tmp_path / "t.csv", {"kind": "image", "shape": [8, 8, 1]})
