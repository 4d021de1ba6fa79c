"""Messages between the two processes: a JSON header and arrays, and never a pickle.

Both sides use this file, so it needs nothing but NumPy.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np


class Wire:
    """One end of a connection.

    Parameters
    ----------
    descriptor : int
        Of a connected socket; closed with the wire.
    """

    def __init__(self, descriptor: int) -> None:
        self._connection = Connection(descriptor)

    def send(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None):
        """Send a message.

        Raises
        ------
        OSError
            The other end is gone.
        """
        packed = io.BytesIO()
        np.savez(packed, **(arrays or {}))
        self._connection.send_bytes(json.dumps(header).encode())
        self._connection.send_bytes(packed.getbuffer())

    def receive(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Wait for a message.

        Raises
        ------
        EOFError
            The other end is gone.
        """
        try:
            header = json.loads(self._connection.recv_bytes())
            packed = io.BytesIO(self._connection.recv_bytes())
        except OSError as error:
            raise EOFError(str(error)) from error
        with np.load(packed, allow_pickle=False) as file:
            return header, {name: file[name] for name in file.files}

    def close(self) -> None:
        """Close this end; the other one sees it."""
        self._connection.close()
