"""Clients: whose rows are trained on, in memory or in files."""

from __future__ import annotations

import os
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autokit.federated.arguments import about
from autokit.federated.columns import Columns, in_order
from autokit.preprocessing import check_lengths
from autokit.training import Batch

SAMPLE_BYTES = 1 << 24  # of rows that columns and scaling are learnt from


class ArrayClients:
    """Clients whose encoded rows are in memory.

    Parameters
    ----------
    data : Batch
    client_ids : array of shape (n_rows,), or None
        The client of each row; None is one client.
    """

    def __init__(self, data: Batch, client_ids=None):
        self._data = data
        if client_ids is None:
            self.names, self.sizes = [0], np.array([len(data)])
        else:
            names, codes = np.unique(np.asarray(client_ids), return_inverse=True)
            self.names = names.tolist()
            self.sizes = np.bincount(codes, minlength=len(names))
            if (np.diff(codes) < 0).any():
                self._data = data.take(np.argsort(codes, kind="stable"))
        self._first = np.concatenate([[0], np.cumsum(self.sizes)])

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, client: int) -> Batch:
        """Encoded rows of one client."""
        return self._data.take(slice(self._first[client], self._first[client + 1]))


class StoredClients:
    """Clients whose rows are read, and encoded, when they are needed.

    Parameters
    ----------
    sources : Sources
    encode : callable
        ``(X, y) -> Batch``
    """

    def __init__(self, sources: Sources, sizes: np.ndarray, encode: Callable[[Any, Any], Batch]):
        self.names, self.sizes = sources.names, sizes
        self._sources, self._encode = sources, encode

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, client: int) -> Batch:
        """Encoded rows of one client."""
        return self._encode(*self._sources.read(client))


class Sources:
    """Raw rows of clients: arrays, ``.npz`` files with `X` and `y`, or functions that give both.

    Parameters
    ----------
    clients : mapping of name to source, or iterable of sources
        A source is a pair ``(X, y)``, the path of an ``.npz`` file, or a function without
        arguments that returns a pair. An iterator is read once: its arrays are put into a
        temporary folder, so that memory does not grow with them.

    Attributes
    ----------
    names : list
        Keys of the mapping; stems of paths, if there are only paths and they differ; otherwise
        numbers.
    """

    def __init__(self, clients):
        self._folder = None
        self._names_in: dict[Path, list[str]] = {}  # columns of DataFrames in the folder
        if isinstance(clients, Mapping):
            self.names, self._sources = list(clients), list(clients.values())
        elif isinstance(clients, Iterator):
            self._sources = list(self._spooled(clients))
            is_as_given = self._folder is None
            self.names = _names_of(self._sources) if is_as_given else [*range(len(self._sources))]
        elif isinstance(clients, Iterable) and not (
            isinstance(clients, str | bytes) or hasattr(clients, "shape")
        ):
            self._sources = list(clients)
            self.names = _names_of(self._sources)
        else:
            raise ValueError(
                "clients must be a mapping of names to (X, y), or an iterable of (X, y) or of "
                f"paths of .npz files; got {type(clients).__name__}. For one table with the client "
                "of each row, use fit(X, y, client_ids=...)."
            )
        if not self._sources:
            raise ValueError("clients is empty; give the rows of at least one client.")
        for name, source in zip(self.names, self._sources, strict=True):
            _check_source(name, source)

    def __len__(self) -> int:
        return len(self._sources)

    def read(self, client: int) -> tuple[Any, Any]:
        """X and y of a client.

        Raises
        ------
        OSError, ValueError
            They cannot be read; the message names the client.
        """
        source, name = self._sources[client], self.names[client]
        if callable(source):
            source = _called(name, source)
        if not isinstance(source, str | os.PathLike):
            return source[0], source[1]
        with opened(name, source) as file:
            return self._framed(source, file["X"]), file["y"]

    def outline(self, client: int) -> tuple[Any, Any]:
        """As `read`; but of a file, X has the right shape and no values, which are not read."""
        source = self._sources[client]
        if not isinstance(source, str | os.PathLike):
            return self.read(client)
        with opened(self.names[client], source) as file:
            return self._framed(source, _hollow(file)), file["y"]

    def _framed(self, path, X: np.ndarray) -> Any:
        names = self._names_in.get(path)
        return X if names is None else pd.DataFrame(X, columns=names)

    def _spooled(self, clients: Iterator) -> Iterator[Path]:
        try:
            for i, source in enumerate(clients):
                if isinstance(source, str | os.PathLike) or callable(source):
                    yield source
                    continue
                _check_source(i, source)
                with about(f"client {i}"):
                    names = Columns.of(source[0]).names
                    X, y = (np.asarray(part) for part in source)
                if X.dtype.kind == "O" or y.dtype.kind == "O":
                    raise ValueError(
                        f"Client {i} of an iterator has rows of objects, which cannot be kept in a "
                        "file; give the clients as a list or a mapping."
                    )
                path = self._made_folder() / f"{i}.npz"
                _store(path, X, y)
                if names is not None:
                    self._names_in[path] = names
                yield path
        except BaseException:
            if self._folder is not None:
                self._folder.cleanup()
            raise

    def _made_folder(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="autokit-clients-")
            weakref.finalize(self, self._folder.cleanup)
        return Path(self._folder.name)


def _names_of(sources: list) -> list:
    if all(isinstance(s, str | os.PathLike) for s in sources):
        stems = [Path(s).stem for s in sources]
        if len(set(stems)) == len(stems):
            return stems
    return list(range(len(sources)))


def _check_source(name, source, made_by: str = "") -> None:
    if isinstance(source, str | os.PathLike) or (callable(source) and not made_by):
        return
    if not isinstance(source, tuple | list) or len(source) != 2:
        raise ValueError(
            f"Client {name!r} must be a pair (X, y), the path of an .npz file with X and y, or a "
            f"function that returns a pair; got {type(source).__name__}"
            f"{f' of length {len(source)}' if isinstance(source, tuple | list) else ''}{made_by}."
        )


def _called(name, function: Callable) -> Any:
    try:
        source = function()
    except Exception as error:
        raise ValueError(
            f"client {name!r}: its function raised {type(error).__name__}: {error}"
        ) from error
    _check_source(name, source, " from its function")
    return source


def _store(path: Path, X: np.ndarray, y: np.ndarray) -> None:
    try:
        np.savez(path, X=X, y=y)
    except OSError as error:
        raise OSError(
            error.errno,
            f"The rows of client {path.stem} of an iterator cannot be put into a temporary folder "
            f"({error.strerror or error}); it was removed. Set TMPDIR to a folder with more room, "
            "or give paths of .npz files, or functions that return (X, y)",
            str(path.parent),
        ) from error


@contextmanager
def opened(name, path):
    """The arrays `X` and `y` of a client's file, for a ``with`` block; errors name the client."""
    try:
        # opened here, because NumPy leaves a file open that turns out to be none of its own
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            if not {"X", "y"} <= set(file.files):
                raise ValueError(f"it has the arrays {', '.join(file.files) or 'none'}")
            yield file
    except OSError as error:
        if error.errno is None:
            raise OSError(f"client {name!r}: {path}: {error}") from error
        raise OSError(error.errno, f"client {name!r}: {error.strerror}", str(path)) from error
    except (ValueError, EOFError, AttributeError, TypeError, KeyError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise ValueError(
            f"client {name!r}: {path} must be an .npz file with the plain arrays X and y, written "
            f"by np.savez(path, X=X, y=y) ({error})"
        ) from error


def _hollow(file) -> np.ndarray:
    with file.zip.open("X.npy") as raw:
        npy = np.lib.format
        is_first = npy.read_magic(raw) == (1, 0)
        read = npy.read_array_header_1_0 if is_first else npy.read_array_header_2_0
        shape, _, dtype = read(raw)
    if dtype.hasobject:
        raise ValueError("X holds objects")
    return np.broadcast_to(np.zeros((), dtype), shape)


def survey(
    sources: Sources, check_target: Callable[[Any], Any] = lambda y: None
) -> tuple[np.ndarray, list, list]:
    """Look at all clients once: their sizes, all targets, and rows to learn the columns from.

    Parameters
    ----------
    sources : Sources
    check_target : callable, default: no check
        Is called with y of each client, to raise what is wrong with it.

    Returns
    -------
    sizes : np.ndarray of int of shape (n_clients,)
    targets : list of np.ndarray
        y of each client.
    sample : list
        X of the first clients, up to some 16 MiB, with columns in the order of the first.

    Raises
    ------
    ValueError
        What a client has is not rows and a target for each, or does not go with what the first
        has; the message names the client.
    """
    targets: list[np.ndarray] = []
    sample: list = []
    columns, taken = None, 0
    first = f"client {sources.names[0]!r}"
    for client, name in enumerate(sources.names):
        is_sampled = taken < SAMPLE_BYTES
        X, y = sources.read(client) if is_sampled else sources.outline(client)
        with about(f"client {name!r}"):
            own = Columns.of(X)
            columns = columns or own
            columns.check(own, first)
            check_lengths(X, y)
            if not len(y):
                raise ValueError("it has no rows; leave it out.")
            check_target(y)
            targets.append(np.asarray(y))
            _check_alike(targets[-1], targets[0], first)
        if is_sampled:
            sample.append(in_order(X, columns.names))
            taken += getattr(X, "nbytes", 0) or 8 * np.size(X)
    return np.array([len(y) for y in targets]), targets, sample


def _check_alike(y: np.ndarray, other: np.ndarray, whose: str) -> None:
    if y.shape[1:] != other.shape[1:]:
        found = f"is of shape {y.shape}, but that of {whose} of {other.shape}"
    elif _kind(y) != _kind(other):
        found = f"holds {_kind(y)}, but that of {whose} {_kind(other)}"
    else:
        return
    raise ValueError(f"its y {found}; give all clients the same kind of targets.")


def _kind(y: np.ndarray) -> str:
    is_text = y.dtype.kind in "US" or (
        y.dtype.kind == "O" and any(isinstance(value, str) for value in y.flat)
    )
    return "texts" if is_text else "numbers"
