"""What a user gives, checked and made uniform."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing

from autokit.preprocessing import check_lengths


def made(parameter: str, given, known: dict):
    """What a name, or an instance, stands for, with its own parameters checked."""
    if given is None:
        return None
    if isinstance(given, type):
        raise ValueError(
            f"The '{parameter}' parameter is the class {given.__name__}; give an instance of it, "
            f"{given.__name__}()."
        )
    part = known[given]() if isinstance(given, str) else given
    if hasattr(part, "_validate_params"):
        part._validate_params()
    return part


def checked_ids(client_ids, X, y, sample_weight=None):
    """The client of each row that has a weight, or None."""
    if client_ids is None:
        return None
    ids = np.asarray(client_ids)
    if ids.ndim != 1:
        raise ValueError(
            f"client_ids must be of shape (n_samples,), the client of each row; got {ids.shape}."
        )
    check_lengths(X, y)
    if len(ids) != len(y):
        raise ValueError(
            f"client_ids has {len(ids)} entries, but X and y have {len(y)} rows; name the client "
            "of every row."
        )
    if pd.isna(ids).any():
        raise ValueError("client_ids has missing values; name the client of every row.")
    if ids.dtype.kind == "O" and len({type(i) for i in ids.tolist()}) > 1:
        raise ValueError("client_ids must be all texts or all numbers; got a mixture.")
    if sample_weight is not None:
        weight = np.asarray(sample_weight)
        if weight.shape == ids.shape and (weight > 0).any():
            ids = ids[weight > 0]
    return ids


def grouped(X, y, ids):
    """Each client's name and rows."""
    y = np.asarray(y)
    names, codes = np.unique(ids, return_inverse=True)
    for i, name in enumerate(names.tolist()):
        places = np.flatnonzero(codes == i)
        yield name, (_safe_indexing(X, places), y[places])


def concatenated(parts: list):
    """Rows of several clients as one table."""
    if isinstance(parts[0], pd.DataFrame | pd.Series):
        return pd.concat(parts, ignore_index=True)
    return np.concatenate([np.asarray(part) for part in parts])
