"""Saving and loading estimators: one file, no pickle, checked before anything is made.

A file is a zip of ``manifest.json`` (format, versions, class, SHA-256 of each member),
``state.json`` (the estimator's attributes, typed; Keras models as configurations) and
``arrays/*.npy``. Loading it runs no code from it: it can only name classes of autokit and of
Keras, and is refused as a whole if it names any other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from autokit import __version__
from autokit.persistence.archive import read_archive, write_archive
from autokit.persistence.decoding import Reader
from autokit.persistence.encoding import Writer
from autokit.persistence.types import class_name, is_class_name
from autokit.persistence.unsaved import Unsaved

__all__ = ["Unsaved", "load", "save"]

_STATE = "state.json"


def save(estimator: Any, path: str | os.PathLike) -> Path:
    """Save an estimator to one file.

    The file is written beside `path` and renamed, so that `path` never holds half of it.
    Parameters that a file cannot hold (functions, callbacks, objects of other packages) are
    left out: they become `Unsaved` in the loaded estimator, which predicts as before and raises
    when a new fit needs them.

    Parameters
    ----------
    estimator : autokit estimator
        Fitted or not.
    path : str or path-like
        Where to; an existing file is replaced. Any suffix will do, ``.autokit`` is usual.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    TypeError
        If it is no estimator of autokit, or a fitted attribute cannot be stored, such as a
        model with a ``Lambda`` layer or with a layer class that is not registered with
        ``keras.saving.register_keras_serializable``.
    OSError
        If the file cannot be written; what was there before stays.

    See Also
    --------
    load : The inverse.

    Examples
    --------
    >>> import os, tempfile
    >>> import autokit
    >>> estimator = autokit.KerasClassifier(epochs=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = autokit.save(estimator, os.path.join(folder, "model.autokit"))
    ...     autokit.load(path).epochs
    3
    """
    name = class_name(type(estimator))
    if not is_class_name(name) or not hasattr(estimator, "get_params"):
        raise TypeError(
            f"estimator must be an estimator of autokit, got {type(estimator).__name__}; save "
            "others with joblib.dump."
        )
    writer = Writer()
    state = json.dumps(writer.encode(estimator, type(estimator).__name__)).encode()
    path = Path(path)
    header = {"autokit": __version__, "class": name}
    write_archive(path, header, {_STATE: state, **writer.members})
    return path


def load(path: str | os.PathLike) -> Any:
    """Load an estimator that :func:`save` wrote.

    Every byte is checked against its SHA-256, and every name in the file against what may be
    made, before anything is made. The hashes find damage; they are no signature.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator
        It predicts bit for bit as the one that was saved.

    Raises
    ------
    ValueError
        If the file is truncated, damaged, altered, not one of :func:`save`, of a newer format,
        or names a class that is not allowed.
    OSError
        If there is no such file, or it cannot be read.
    """
    path = Path(path)
    manifest, members = read_archive(path)
    try:
        tree = json.loads(members.pop(_STATE))
        if not isinstance(tree, dict) or tree.get("class") != manifest["class"]:
            raise ValueError("its state is not that of the class in its manifest")
        reader = Reader(members)
        reader.check(tree)
        estimator = reader.decode(tree)
    except _MALFORMED as error:
        raise ValueError(
            f"{path} cannot be loaded: {_reason(error)}. It was written by autokit "
            f"{manifest.get('autokit')}; save the estimator again with this version."
        ) from error
    if not hasattr(estimator, "get_params"):
        raise ValueError(f"{path} holds no estimator but a {type(estimator).__name__}.")
    return estimator


_MALFORMED = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def _reason(error: Exception) -> str:
    if isinstance(error, LookupError):
        return f"it lacks {error}"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
