"""SHA-256 of data and descriptions of settings: what two runs must agree in to be one search."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse

from autokit._backend import keras
from autokit.names import described
from autokit.training.programs import architecture_key


def sha256_of(data: Any) -> str:
    """A hash of rows, targets or weights, the same in the next process.

    Parameters
    ----------
    data : array-like, DataFrame, sparse matrix, dict of these or None
        Numbers are hashed by their bytes and dtype, other values by their text. The index of a
        DataFrame or Series does not count.

    Returns
    -------
    str
        ``"sha256:..."``.

    Examples
    --------
    >>> sha256_of([1, 2]) == sha256_of(np.array([1, 2]))
    True
    >>> sha256_of([1, 2]) == sha256_of([2, 1])
    False
    """
    digest = hashlib.sha256()
    _feed(digest, data)
    return f"sha256:{digest.hexdigest()}"


def _feed(digest, data: Any) -> None:
    if data is None:
        return
    if scipy.sparse.issparse(data):
        data = data.tocsr(copy=True)
        data.sum_duplicates()
        digest.update(f"{data.shape}".encode())
        for part in (data.data, data.indices, data.indptr):
            _feed(digest, part)
    elif isinstance(data, Mapping) or hasattr(data, "columns"):
        for name in data.keys() if isinstance(data, Mapping) else data.columns:
            digest.update(f"[{name!r}]".encode())
            _feed(digest, data[name])
    else:
        _feed_array(digest, data)


def _feed_array(digest, data: Any) -> None:
    try:
        array = np.asarray(data)
    except ValueError:  # rows of different lengths
        array = np.fromiter(data, dtype=object, count=len(data))
    digest.update(f"{array.shape}{array.dtype.str}".encode())
    if array.dtype.hasobject:
        for value in array.ravel():
            _feed_value(digest, value)
    else:
        digest.update(np.ascontiguousarray(array).data)


def _feed_value(digest, value: Any) -> None:
    if isinstance(value, np.ndarray):
        _feed_array(digest, value)
    else:
        digest.update(f"{type(value).__name__}{value!s}\0".encode())


def settings_of(name: str, value: Any) -> dict[str, Any]:
    """What a parameter is set to, as JSON values by name, the same in the next process.

    Parameters
    ----------
    name : str
    value : object
        An estimator is described by its class and, as ``name.parameter``, by its parameters; a
        Keras model by its architecture; what else has a ``get_config`` by that; an array by its
        hash; functions and classes by their names.
    """
    if hasattr(value, "get_params") and not isinstance(value, type):
        settings = {name: described(type(value))}
        parameters = value.get_params(deep=True)
        for key in sorted(parameters):
            settings[f"{name}.{key}"] = _described(parameters[key])
        return settings
    return {name: _described(value)}


def _described(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, Mapping):
        return {str(key): _described(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_described(part) for part in value]
    if isinstance(value, type):
        return described(value)
    if isinstance(value, keras.Model):  # its layers' names count up with every model that is made
        key = architecture_key(value)
        return described(type(value)) if key is None else sha256_of(key)
    if hasattr(value, "get_config"):
        config = {key: part for key, part in value.get_config().items() if key != "name"}
        return [described(type(value)), _described(config)]
    if hasattr(value, "get_params"):  # its parameters stand beside it, by deep names
        return described(type(value))
    if isinstance(value, np.ndarray) or hasattr(value, "columns") or scipy.sparse.issparse(value):
        return sha256_of(value)
    return described(value)
