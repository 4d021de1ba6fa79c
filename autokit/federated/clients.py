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
        Keys of the mapping; stems of paths, if they differ; otherwise numbers.
    """

    def __init__(self, clients):
        self._folder = None
        if isinstance(clients, Mapping):
            self.names, self._sources = list(clients), list(clients.values())
        elif isinstance(clients, Iterator):
            self._sources = list(self._spooled(clients))
            self.names = list(range(len(self._sources)))
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
            source = source()
            _check_source(name, source)
        if not isinstance(source, str | os.PathLike):
            return source[0], source[1]
        with opened(name, source) as file:
            return file["X"], file["y"]

    def targets(self, client: int) -> Any:
        """y of a client; of a file, without reading X."""
        source = self._sources[client]
        if not isinstance(source, str | os.PathLike):
            return self.read(client)[1]
        with opened(self.names[client], source) as file:
            return file["y"]

    def _spooled(self, clients: Iterator) -> Iterator[Path]:
        self._folder = tempfile.TemporaryDirectory(prefix="autokit-clients-")
        folder = Path(self._folder.name)
        weakref.finalize(self, self._folder.cleanup)
        try:
            for i, source in enumerate(clients):
                if isinstance(source, str | os.PathLike) or callable(source):
                    yield source
                    continue
                _check_source(i, source)
                X, y = (np.asarray(part) for part in source)
                if X.dtype.kind == "O" or y.dtype.kind == "O":
                    raise ValueError(
                        f"Client {i} of an iterator has rows of objects, which cannot be kept in a "
                        "file; give the clients as a list or a mapping."
                    )
                _store(folder / f"{i}.npz", X, y)
                yield folder / f"{i}.npz"
        except BaseException:
            self._folder.cleanup()
            raise


def _names_of(sources: list) -> list:
    if all(isinstance(s, str | os.PathLike) for s in sources):
        stems = [Path(s).stem for s in sources]
        if len(set(stems)) == len(stems):
            return stems
    return list(range(len(sources)))


def _check_source(name, source) -> None:
    if callable(source) or isinstance(source, str | os.PathLike):
        return
    if not isinstance(source, tuple | list) or len(source) != 2:
        raise ValueError(
            f"Client {name!r} must be a pair (X, y), the path of an .npz file with X and y, or a "
            f"function that returns a pair; got {type(source).__name__}"
            f"{f' of length {len(source)}' if isinstance(source, tuple | list) else ''}."
        )


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
        raise OSError(f"client {name!r}: {path}: {error.strerror or error}") from error
    except (ValueError, EOFError, AttributeError, TypeError,
            zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise ValueError(
            f"client {name!r}: {path} must be an .npz file with the plain arrays X and y, written "
            f"by np.savez(path, X=X, y=y) ({error})"
        ) from error


def survey(sources: Sources) -> tuple[np.ndarray, list, list]:
    """Look at all clients once: their sizes, all targets, and rows to learn the columns from.

    Returns
    -------
    sizes : np.ndarray of int of shape (n_clients,)
    targets : list
        y of each client.
    sample : list of tuple of (X, y)
        The first clients, up to some 16 MiB.

    Raises
    ------
    ValueError
        A client has no rows, or X and y of different lengths.
    """
    sizes, targets, sample = [], [], []
    taken = 0
    for client, name in enumerate(sources.names):
        if taken < SAMPLE_BYTES:
            X, y = sources.read(client)
            if len(X) != len(y):
                raise ValueError(
                    f"Client {name!r} has {len(X)} rows in X and {len(y)} targets in y; give one "
                    "target for each row."
                )
            if np.shape(X)[1:] != np.shape(sample[0][0] if sample else X)[1:]:
                raise ValueError(
                    f"Client {name!r} has rows of shape {np.shape(X)[1:]}, but client "
                    f"{sources.names[0]!r} of {np.shape(sample[0][0])[1:]}; give all clients the "
                    "same columns."
                )
            sample.append((X, y))
            taken += getattr(X, "nbytes", 0) or 8 * np.size(X)
        else:
            y = sources.targets(client)
        if not len(y):
            raise ValueError(f"Client {name!r} has no rows; leave it out.")
        sizes.append(len(y))
        targets.append(np.asarray(y))
    return np.array(sizes), targets, sample
