"""CSV files as training tables and as rows to predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_MAX_INTEGER_CLASSES = 20


@dataclass(frozen=True)
class TrainingTable:
    """The content of a CSV file, split into features and target."""

    X: pd.DataFrame
    y: pd.Series
    n_dropped: int


def read_csv(path: str | os.PathLike, text_columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV file with a header; compressed ones (.gz, .zip, .xz) too.

    Parameters
    ----------
    path : path-like
    text_columns : sequence of str, default=()
        Columns that stay text even if all their cells look like numbers.

    Raises
    ------
    ValueError
        The file is no CSV file, or has no rows.
    OSError
        The file cannot be read.
    """
    import pandas as pd

    try:
        # low_memory would guess a column's type chunk by chunk, and may guess differently.
        table = pd.read_csv(path, low_memory=False, dtype=dict.fromkeys(text_columns, "str"))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file that can be read: {error}") from error
    if not len(table):
        raise ValueError(f"{path} has a header but no rows; add some.")
    return table


def read_training(path: str | os.PathLike, target: str) -> TrainingTable:
    """Read a CSV file and take the target column out; rows without a target are left out.

    Raises
    ------
    ValueError
        The target column is missing, empty, or the only column.
    """
    table = read_csv(path)
    if target not in table.columns:
        known = ", ".join(map(repr, table.columns[:30]))
        raise ValueError(f"--target {target!r} is no column of {path}; its columns are {known}.")
    if table.shape[1] == 1:
        raise ValueError(f"{path} has no column beside the target {target!r}; add features.")
    labelled = table[table[target].notna()]
    if not len(labelled):
        raise ValueError(f"the target column {target!r} of {path} is empty; fill it.")
    return TrainingTable(
        X=labelled.drop(columns=target).reset_index(drop=True),
        y=labelled[target].reset_index(drop=True),
        n_dropped=len(table) - len(labelled),
    )


def decide_task(y: pd.Series) -> tuple[str, str]:
    """Tell classification from regression by the target's values.

    Text and booleans are classes. Of numbers, up to 20 distinct whole ones are classes, unless
    most of them occur once; all others are quantities.

    Returns
    -------
    tuple of str
        The task, and what it was decided by, for the user to judge.
    """
    import pandas as pd

    distinct = y.nunique()
    if pd.api.types.is_bool_dtype(y) or not pd.api.types.is_numeric_dtype(y):
        return "classification", f"{y.name!r} holds {distinct} distinct texts or truth values"
    if (y % 1 != 0).any():
        return "regression", f"{y.name!r} holds numbers with fractions"
    if distinct <= _MAX_INTEGER_CLASSES and 2 * distinct <= max(4, len(y)):
        return "classification", f"{y.name!r} holds only {distinct} distinct whole numbers"
    return "regression", f"{y.name!r} holds {distinct} distinct whole numbers"


def check_task(task: str, y: pd.Series) -> None:
    """Refuse a task that the target's values rule out.

    Raises
    ------
    ValueError
        Regression on text.
    """
    import pandas as pd

    if task == "regression" and not pd.api.types.is_numeric_dtype(y):
        example = next(iter(y))
        raise ValueError(
            f"--task regression needs numbers in {y.name!r}, but it holds {example!r}; mend the "
            "column or use --task classification."
        )


def read_rows(path: str | os.PathLike, description: dict[str, Any]) -> tuple[Any, list[str]]:
    """Read the rows that a model is to predict.

    Parameters
    ----------
    path : path-like
    description : dict
        What the model's encoder says of its columns (`TableEncoder.describe`).

    Returns
    -------
    tuple
        The columns that the model knows, in its order, and the names of those left out.

    Raises
    ------
    ValueError
        Columns are missing, or the model does not take tables.
    """
    if description["kind"] != "table":
        raise ValueError(
            f"the model takes rows of shape {tuple(description['shape'])}, which a CSV "
            "file cannot hold; use autokit.load or autokit.TFLiteModel in Python."
        )
    columns = description["columns"]
    names = [column["name"] for column in columns]
    if None in names:
        table = read_csv(path)
        if table.shape[1] != len(names):
            raise ValueError(
                f"{path} has {table.shape[1]} columns, but the model takes {len(names)}; it was "
                "trained without column names, so give exactly those, in that order."
            )
        return table.to_numpy(), []
    present = set(read_header(path))
    missing = [name for name in names if name not in present]
    if missing:
        raise ValueError(
            f"{path} lacks the column{'s'[: len(missing) > 1]} "
            f"{', '.join(map(repr, missing[:20]))} that the model was trained on; add them."
        )
    texts = [column["name"] for column in columns if column["kind"] == "categorical"]
    table = read_csv(path, texts)
    return table[names], [name for name in table.columns if name not in set(names)]


def read_header(path: str | os.PathLike) -> list[str]:
    """Return the column names of a CSV file."""
    import pandas as pd

    try:
        return list(pd.read_csv(path, nrows=0).columns)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file that can be read: {error}") from error
