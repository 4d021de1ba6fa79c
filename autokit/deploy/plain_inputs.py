"""Inputs of a .tflite file that knows no columns: a plain model's, or of other make."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

Details = dict[str, dict]


def identifier(name: str) -> str:
    """Return an input's or output's name as a file spells it."""
    return re.sub(r"\W", "_", name)


def specs_of(inputs: Details) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return each input's shape without the batch dimension, and its dtype.

    Parameters
    ----------
    inputs : dict of str to dict
        LiteRT's details of the tensors, by name.
    """
    specs = {}
    for name, detail in inputs.items():
        is_text = detail["dtype"] == np.bytes_
        dtype = np.dtype("S1") if is_text else np.dtype(detail["dtype"])
        specs[name] = (tuple(int(n) for n in detail["shape"][1:]), dtype)
    return specs


def plain_tensors(X: Any, inputs: Details, file_name: str) -> dict[str, np.ndarray]:
    """Turn the inputs of a plain model into the arrays that its file takes.

    Parameters
    ----------
    X : array-like, or list or dict of array-likes
        One for each input.
    inputs : dict of str to dict
        As for :func:`specs_of`.
    file_name : str
        What error messages call the file.

    Returns
    -------
    dict of str to ndarray
        By input name.

    Raises
    ------
    ValueError
        If X does not fit.
    """
    if isinstance(X, dict):
        given = {identifier(str(name)): value for name, value in X.items()}
    elif len(inputs) == 1:
        given = {next(iter(inputs)): X}
    elif isinstance(X, list | tuple) and len(X) == len(inputs):
        given = dict(zip(inputs, X, strict=True))
    else:
        given = {}
    if given.keys() != inputs.keys():
        raise ValueError(
            f"X must give the inputs {', '.join(inputs)} of {file_name}, as a list in this order "
            f"or a dict; got {', '.join(given) or f'a {type(X).__name__}'}."
        )
    specs = specs_of(inputs)
    return {name: _fitted(name, value, inputs[name], *specs[name]) for name, value in given.items()}


def _fitted(name: str, value: Any, detail: dict, shape: tuple, dtype: np.dtype) -> np.ndarray:
    """Check one input, and cast it if nothing but precision is lost."""
    array = np.asarray(value)
    signature = detail["shape_signature"][1:]
    fits = array.ndim == len(shape) + 1 and all(
        n in (-1, m) for n, m in zip(signature, array.shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(
            f"X must be of shape (n_samples, {', '.join(map(str, shape))}) for the input "
            f"{name!r}, got {array.shape}; reshape it so that the first axis counts samples."
        )
    if dtype.kind == "S":
        return array.astype(object)
    if detail["quantization"][0] and array.dtype.kind == "f":
        return array.astype(np.float32)  # integers stand for numbers: quantised when run
    if not np.can_cast(array.dtype, dtype, "same_kind") and dtype.kind != "f":
        raise ValueError(
            f"X must be {dtype} for the input {name!r}, got {array.dtype}; cast it with "
            f"X.astype({dtype.name!r})."
        )
    return array.astype(dtype, copy=False)
