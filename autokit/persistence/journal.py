"""The file of a search: Optuna's journal, which survives a kill in the middle of a line."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

_FIRST = b'{"op_code":'  # how every record of Optuna's journal begins


def check_writable(path) -> None:
    """Raise before any training where a journal could not be written."""
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise IsADirectoryError(
            f"The 'storage' parameter {str(path)!r} is a folder; give the path of a file in it."
        )
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The 'storage' parameter {str(path)!r} lies in a folder that does not exist; make "
            f"the folder {str(folder)!r} first."
        )
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise type(error)(
            f"The 'storage' parameter {str(path)!r} cannot be written ({error.strerror}); choose "
            "another path or change its permissions."
        ) from error


def complete_lines(path: Path) -> list[dict]:
    """The journal's records; a torn end is left out.

    A process that is killed while it writes, or a power cut, leaves a last line without its end
    or filled with zeros. Anything unreadable before the last line is no such accident.
    """
    lines = path.read_bytes().split(b"\n")
    records = []
    for i, line in enumerate(lines):
        is_last = not any(rest.strip(b"\0 \r") for rest in lines[i + 1 :])
        record = _record(line) if i < len(lines) - 1 else None
        if record is not None:
            records.append(record)
        elif is_last and (records or _may_begin(line.strip(b"\0"))):
            break
        else:
            raise ValueError(
                f"The 'storage' parameter {str(path)!r} is not the journal of a search, or is "
                f"damaged in line {i + 1}; choose another path or restore the file."
            )
    return records


def _record(line: bytes) -> dict | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "op_code" in record else None


def _may_begin(line: bytes) -> bool:
    return line.startswith(_FIRST) or _FIRST.startswith(line)


def repair(path: Path) -> None:
    """Cut off a torn last line; what is before it was synchronised to the disk."""
    n_lines = len(complete_lines(path))
    content = path.read_bytes()
    end = 0
    for _ in range(n_lines):
        end = content.index(b"\n", end) + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
            file.flush()
            os.fsync(file.fileno())


class _FileLock:
    """Mutual exclusion that the operating system ends with the process that holds it.

    Optuna's own locks are files that a killed process leaves behind, for which the next one
    waits half a minute.
    """

    def __init__(self, path: str):
        self._path, self._file = path, None

    def acquire(self) -> bool:
        import fcntl

        self._file = open(self._path, "ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        self._file.close()
        self._file = None


def make_lock(path: Path):
    try:
        import fcntl  # noqa: F401
    except ImportError:  # Windows
        from optuna.storages.journal import JournalFileOpenLock

        return JournalFileOpenLock(str(path))
    return _FileLock(str(path))


def make_backend(path: Path):
    """Optuna's journal in a file, where a line that could not be written whole is not written.

    Optuna itself would leave the torn line behind, and the next one, of this process or another,
    would go on in the middle of it.
    """
    from optuna.storages.journal import JournalFileBackend

    class Backend(JournalFileBackend):
        def append_logs(self, logs) -> None:
            lines = [json.dumps(log, separators=(",", ":")) + "\n" for log in logs]
            with locked(path):
                if _has_torn_end(path):
                    repair(path)
                _append("".join(lines).encode(), path)

    return Backend(str(path), lock_obj=make_lock(path))


def _has_torn_end(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _append(content: bytes, path: Path) -> None:
    """Add to a file and synchronise it to the disk; it stays as it was where that fails."""
    with path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            while content:
                content = content[file.write(content) :]
            os.fsync(file.fileno())
        except BaseException:  # an interrupt too
            with contextlib.suppress(OSError):
                file.truncate(size)
            raise


@contextlib.contextmanager
def locked(path: Path):
    lock = make_lock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
