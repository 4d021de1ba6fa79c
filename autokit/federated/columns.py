"""Columns that clients have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

from autokit.preprocessing.rows import frame_names, is_frame, read_array, wrong_rank


class Columns(NamedTuple):
    """What must be alike in the rows of all clients.

    Attributes
    ----------
    names : list of str or None
        Of a DataFrame's columns.
    shape : tuple of int
        Of a row.
    """

    names: list[str] | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, X: Any) -> Columns:
        """Those of a client's rows.

        Raises
        ------
        TypeError, ValueError
            They are no rows.
        """
        if is_frame(X):
            return cls(frame_names(X), (X.shape[1],))
        shape = read_array(X).shape
        if len(shape) < 2:
            raise wrong_rank(shape)
        return cls(None, shape[1:])

    def check(self, other: Columns, whose: str) -> None:
        """Check that another client has them too, in any order.

        Raises
        ------
        ValueError
            It has not.
        """
        cure = "give all clients the same columns"
        if other.shape != self.shape:
            raise ValueError(
                f"its rows are of shape {other.shape}, but those of {whose} of {self.shape}; {cure}"
            )
        if (other.names is None) != (self.names is None):
            own, others = ("no names", "some") if other.names is None else ("names", "none")
            raise ValueError(
                f"its columns have {own}, but those of {whose} have {others}; give all clients "
                "DataFrames, or all arrays"
            )
        if other.names is not None and set(other.names) != set(self.names):
            raise ValueError(
                f"its columns are {', '.join(other.names)}, but those of {whose} are "
                f"{', '.join(self.names)}; {cure}"
            )


def in_order(X: Any, names: list[str] | None) -> Any:
    """Rows with their columns in the order of these names, if it is these that they have."""
    if names is None or not is_frame(X) or set(X.columns) != set(names):
        return X
    return X if list(X.columns) == list(names) else X[list(names)]
