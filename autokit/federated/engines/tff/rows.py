"""Rows of clients as files that another process reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from autokit.federated.protocols import Clients
from autokit.training import Batch

# What TensorFlow reads from plain bytes.
_TYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "float16", "float32",
          "float64")  # fmt: skip


class Unreadable(Exception):
    """The rows of a client cannot be had."""


class StoredRows:
    """Each client's rows, written when a round first needs them and kept for later rounds.

    Parameters
    ----------
    clients : Clients
    folder : pathlib.Path
        Whoever made it removes it.
    """

    def __init__(self, clients: Clients, folder: Path) -> None:
        self._clients, self._folder = clients, folder
        self._n_rows: dict[int, int] = {}
        self._kinds: dict[str, tuple[tuple, np.dtype]] = {}

    def path(self, client: int) -> Path:
        """Of a client's files, without their endings."""
        return self._folder / str(client)

    def n_rows(self, client: int) -> int:
        """Rows of a client that is stored."""
        return self._n_rows[client]

    def kinds(self, *, weighted: bool) -> dict[str, dict[str, Any]]:
        """Shapes and types of a row."""
        return {
            name: {"shape": list(shape), "dtype": dtype.name}
            for name, (shape, dtype) in self._kinds.items()
            if weighted or name != "weights"
        }

    def stored(self, client: int) -> Batch | None:
        """Write a client's rows, unless they are there.

        Returns
        -------
        Batch or None
            What was written.

        Raises
        ------
        Unreadable
            The client gives no rows.
        ValueError
            They are of a kind that TensorFlow Federated cannot be given, or not of that of others.
        OSError
            There is no space for them.
        """
        if client in self._n_rows:
            return None
        try:
            data = self._clients.batch(client)
        except (OSError, ValueError) as error:
            raise Unreadable(error) from error
        weight = np.ones(len(data), np.float32) if data.weight is None else data.weight
        parts = {"rows": data.x, "targets": data.y, "weights": weight.astype(np.float32)}
        for name, part in parts.items():
            self._check(client, name, part)
        try:
            for name, part in parts.items():
                with open(f"{self.path(client)}.{name}", "wb") as file:
                    file.write(np.ascontiguousarray(part).data)
        except OSError as error:
            for name in parts:
                Path(f"{self.path(client)}.{name}").unlink(missing_ok=True)
            raise OSError(
                error.errno,
                f"{error.strerror}, which clients' rows need for engine='tff'; make some, or name "
                "another folder with the environment variable TMPDIR",
                str(self._folder),
            ) from error
        self._n_rows[client] = len(data)
        return data

    def _check(self, client: int, name: str, part: np.ndarray) -> None:
        if part.dtype.name not in _TYPES:
            raise ValueError(
                f"{name} of type {part.dtype} cannot be given to TensorFlow Federated; use "
                "engine='embedded'"
            )
        kind = self._kinds.setdefault(name, (part.shape[1:], part.dtype))
        if kind != (part.shape[1:], part.dtype):
            raise ValueError(
                f"{name} of client {self._clients.names[client]!r} are {part.dtype} of shape "
                f"{part.shape[1:]}, those of others {kind[1]} of shape {kind[0]}; make them alike"
            )
