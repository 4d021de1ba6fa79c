"""What a user gives, checked and made uniform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Number

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing

from autokit._backend import keras
from autokit.preprocessing import check_lengths

_WITH_OPTIMIZER = tuple(
    getattr(keras.callbacks, name)
    for name in ("LearningRateScheduler", "ReduceLROnPlateau", "SwapEMAWeights", "TensorBoard")
)


@contextmanager
def about(subject: str) -> Iterator[None]:
    """Errors in what a user gave name the argument, or the client, that it is of."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"{subject}: {error}") from error


def made(parameter: str, given, known: dict, kind: type = object):
    """What a name, or an instance, stands for, with its own parameters checked."""
    if given is None:
        return None
    _refuse_class(parameter, given)
    part = known[given]() if isinstance(given, str) else given
    if not isinstance(part, kind):
        raise ValueError(
            f"The '{parameter}' parameter must be an instance of autokit.federated.{kind.__name__};"
            f" got {type(part).__name__}: make it a subclass."
        )
    if hasattr(part, "_validate_params"):
        part._validate_params()
    return part


def checked_callbacks(given) -> list[keras.callbacks.Callback]:
    """Callbacks as a list, all of which can work without an optimizer of the model."""
    callbacks = [given] if isinstance(given, keras.callbacks.Callback) else list(given or [])
    for callback in callbacks:
        _refuse_class("callbacks", callback)
        if not isinstance(callback, keras.callbacks.Callback):
            raise ValueError(
                "The 'callbacks' parameter must hold instances of keras.callbacks.Callback; got "
                f"{callback!r}. A function becomes one as "
                "keras.callbacks.LambdaCallback(on_epoch_end=function)."
            )
        if isinstance(callback, _WITH_OPTIMIZER):
            raise ValueError(
                f"The 'callbacks' parameter holds a {type(callback).__name__}, which needs an "
                "optimizer of the model, but clients and server have their own; leave it out, and "
                "set 'client_learning_rate' or 'server_optimizer'."
            )
    return callbacks


def _refuse_class(parameter: str, given) -> None:
    if isinstance(given, type):
        raise ValueError(
            f"The '{parameter}' parameter is the class {given.__name__}; give an instance of it, "
            f"{given.__name__}()."
        )


def checked_ids(client_ids, X, y, sample_weight=None):
    """The client of each row that has a weight, or None."""
    weight = _numbers(sample_weight)
    if client_ids is None:
        return None
    with about("client_ids"):
        ids = np.asarray(client_ids)
    if ids.dtype.kind in "US" and not isinstance(client_ids, np.ndarray):
        ids = np.asarray(client_ids, dtype=object)  # numbers beside texts were made texts
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
    ids = _uniform(ids)
    if weight is not None and weight.shape == ids.shape and (weight > 0).any():
        ids = ids[weight > 0]
    return ids


def _numbers(sample_weight) -> np.ndarray | None:
    if sample_weight is None:
        return None
    try:
        return np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"sample_weight must hold numbers, one for each row: {error}; leave it out to weigh "
            "all rows alike."
        ) from error


def _uniform(ids: np.ndarray) -> np.ndarray:
    """Names that are all of one kind, numbers among objects as numbers."""
    if ids.dtype.kind == "O":
        kinds = {_kind(name) for name in ids.tolist()}
        if len(kinds) > 1:
            raise ValueError(
                "client_ids must be all texts or all numbers; got a mixture: make them texts with "
                "[str(i) for i in client_ids]."
            )
        if kinds == {"number"}:
            ids = np.array(ids.tolist())
    if ids.dtype.kind == "f" and (odd := ids[np.floor(ids) != ids]).size:
        raise ValueError(
            f"client_ids has numbers that are not whole, such as {odd[0]}; name clients by texts "
            "or ints. Weights of rows are passed as sample_weight=..."
        )
    return ids


def _kind(name) -> str:
    if isinstance(name, str):
        return "text"
    return "number" if isinstance(name, Number | np.bool_) else type(name).__name__


def grouped(X, y, ids):
    """Each client's name and rows."""
    y = np.asarray(y)
    names, codes, sizes = np.unique(ids, return_inverse=True, return_counts=True)
    places = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    for name, own in zip(names.tolist(), places, strict=True):
        yield name, (_safe_indexing(X, own), y[own])


def concatenated(parts: list):
    """Rows of several clients, whose columns are in one order, as one table."""
    if all(isinstance(part, pd.DataFrame) for part in parts):
        columns = parts[0].columns
        return pd.concat([part.set_axis(columns, axis=1) for part in parts], ignore_index=True)
    return np.concatenate([np.asarray(part) for part in parts])
