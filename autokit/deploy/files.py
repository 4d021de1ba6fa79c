"""A file that appears whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def checked_path(path: str | Path, overwrite: bool) -> Path:
    """Find out before the conversion whether a file can be written at all.

    Parameters
    ----------
    path : str or Path
        The file.
    overwrite : bool
        Whether an existing one may be replaced.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    OSError
        FileNotFoundError, IsADirectoryError, FileExistsError or PermissionError.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"path: the folder {path.parent} does not exist; create it first, or choose another."
        )
    if path.is_dir():
        raise IsADirectoryError(f"path: {path} is a folder; name a file in it.")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"path: {path} exists; pass overwrite=True to replace it, or choose another name."
        )
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(
            f"path: the folder {path.parent} is not writable; choose another, or change its mode."
        )
    return path


@contextlib.contextmanager
def written(path: Path, data: bytes) -> Iterator[Path]:
    """Write `data` beside `path`, and move it there if the block succeeds.

    Parameters
    ----------
    path : Path
        The file.
    data : bytes
        Its contents.

    Yields
    ------
    Path
        Where they are until then.

    Raises
    ------
    OSError
        If they cannot be written. Nothing is left behind, and a former file stays.
    """
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            reason = error.strerror or str(error)
            cure = "free some space" if error.errno == errno.ENOSPC else "choose another folder"
            raise type(error)(
                f"path: {path} cannot be written ({reason}); {cure}. Nothing was left behind."
            ) from error
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
