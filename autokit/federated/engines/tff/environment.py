"""The environment of TensorFlow Federated: where it is, and how it gets there.

TFF 0.87 pins TensorFlow 2.14 and Python 3.11, and as it is published it cannot be resolved: so
its packages are listed with their versions, and installed without being asked what they need.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from autokit.federated.engines.tff.pythons import find_python

PINS = Path(__file__).with_name("pins.txt")
VARIABLE = "AUTOKIT_TFF_ENV"
COMMAND = "autokit tff install"
COSTS = "2.5 GB on disk, about 770 MB to download, 1 to 5 minutes"
NEEDED_BYTES = 3_000_000_000
_GLIBC = (2, 31)  # of TFF's wheel

_STARTED, _COMPLETE = ".autokit-tff-started", ".autokit-tff-complete"
_PIP = ["-I", "-m", "pip", "install", "--no-deps", "--no-input", "--disable-pip-version-check",
        "--progress-bar", "off"]  # fmt: skip
# What a user's configuration may say of other installations.
_UNSET = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIREMENT", "PIP_CONSTRAINT",
          "PIP_REQUIRE_HASHES", "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__")  # fmt: skip


class NotInstalled(RuntimeError):
    """There is no environment for TensorFlow Federated."""


class InstallFailed(RuntimeError):
    """The environment could not be made; nothing of it is left."""


def folder() -> Path:
    """Where the environment is, or would be: in the user's cache, or ``AUTOKIT_TFF_ENV``."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "autokit" / "tff-0.87"


def python_of(where: Path) -> Path:
    """The interpreter of an environment."""
    return where / "bin" / "python"


def is_installed(where: Path) -> bool:
    """Whether there is an environment: a finished one of these versions, or one of the user's."""
    if not python_of(where).exists() or (where / _STARTED).exists():
        return False
    complete = where / _COMPLETE
    return not complete.exists() or complete.read_text() == _digest()


def required(where: str | os.PathLike | None = None) -> Path:
    """The interpreter of the environment; asks on a terminal whether to make a missing one.

    Parameters
    ----------
    where : path-like or None, default=None
        Instead of `folder`.

    Raises
    ------
    NotInstalled
        There is none, and nobody to ask, or no is the answer.
    """
    where = folder() if where is None else Path(where).expanduser()
    if is_installed(where):
        return python_of(where)
    how = COMMAND if where == folder() else f"{COMMAND} --where {where}"
    missing = (
        f"engine='tff' needs TensorFlow Federated in an environment of its own, and there is none "
        f"in {where}. Install it with '{how}' ({COSTS}), or use engine='embedded'."
    )
    _check_platform()
    if not _asked(f"{missing}\nInstall it now? [y/N] "):
        raise NotInstalled(missing)
    return install(where, say=lambda line: sys.stderr.write(f"{line}\n"))


def install(
    where: str | os.PathLike | None = None,
    *,
    python: str | os.PathLike | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Path:
    """Make the environment, unless it is there.

    Parameters
    ----------
    where : path-like or None, default=None
        A folder that does not exist, is empty, or holds what an earlier installation left. None is
        `folder`.
    python : path-like or None, default=None
        A Python 3.11; by default it is looked for, and fetched by uv where uv is installed.
    say : callable
        Is told how it goes, a line at a time.

    Returns
    -------
    pathlib.Path
        The interpreter of the environment.

    Raises
    ------
    InstallFailed
        It cannot be made here, with the reason; nothing half-made is left.
    """
    where = folder() if where is None else Path(where).expanduser().absolute()
    _check_platform()
    if is_installed(where):
        say(f"TensorFlow Federated is installed in {where}")
        return python_of(where)
    with _locked(where):
        if is_installed(where):  # by somebody else, just now
            return python_of(where)
        _check_is_ours(where)
        _check_space(where.parent)
        found = find_python(python, say)
        say(f"installing TensorFlow Federated into {where}: {COSTS}; with {found}")
        try:
            _clear(where)
            _make(where, found, say)
        except BaseException as error:
            _clear(where)
            with contextlib.suppress(OSError):
                where.rmdir()
            if isinstance(error, OSError):
                raise InstallFailed(_of_os_error(error, where)) from error
            raise
        say(f"TensorFlow Federated is installed in {where}")
    return python_of(where)


def _make(where: Path, python: Path, say: Callable[[str], None]) -> None:
    where.mkdir(parents=True, exist_ok=True)
    (where / _STARTED).touch()
    _run([python, "-I", "-m", "venv", where], where, lambda line: None)
    pins = PINS.read_text().split()

    def told(line: str) -> None:
        place = re.match(r"(?:Collecting|Processing) .*\(line (\d+)\)\)$", line)
        if place:
            say(f"{place[1]} of {len(pins)}: {pins[int(place[1]) - 1]}")
        elif line.startswith("Installing collected packages"):
            say("unpacking")

    _run([python_of(where), *_PIP, "-r", PINS], where, told)
    (where / _COMPLETE).write_text(_digest())
    (where / _STARTED).unlink()


def _run(command: list, where: Path, told: Callable[[str], None]) -> None:
    """Run a command, and pass each of its lines on."""
    environment = {name: value for name, value in os.environ.items() if name not in _UNSET}
    process = subprocess.Popen(
        [os.fspath(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    )
    lines = []
    try:
        for line in process.stdout:
            lines.append(line.strip())
            told(lines[-1])
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
    if not code:
        return
    if any("No space left on device" in line for line in lines):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(where))
    errors = [line for line in lines if re.match("error|fatal", line, re.IGNORECASE)]
    why = " ".join((errors or [line for line in lines if line] or ["it told nothing"])[-3:])
    raise InstallFailed(
        f"TensorFlow Federated could not be installed into {where}: {why}. Nothing of it is left; "
        f"try '{COMMAND}' again when that is mended."
    )


def _clear(where: Path) -> None:
    """Remove what an installation has left, and nothing else."""
    if (where / _STARTED).exists() or (where / _COMPLETE).exists():
        # the mark goes last: if this is ended too, the next one still knows whose folder it is
        for part in sorted(where.iterdir(), key=lambda part: part.name == _STARTED):
            shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()


def _check_is_ours(where: Path) -> None:
    if not where.exists():
        return
    if not where.is_dir():
        raise InstallFailed(f"{where} is a file; name a folder for TensorFlow Federated.")
    ours = (where / _STARTED).exists() or (where / _COMPLETE).exists()
    if not ours and any(where.iterdir()):
        raise InstallFailed(
            f"{where} holds other files, and is left as it is; name a new or an empty folder."
        )


def _check_platform() -> None:
    here = f"{sys.platform} on {platform.machine()}"
    library, version = platform.libc_ver()
    if here != "linux on x86_64" or library != "glibc" or _numbers(version) < _GLIBC:
        raise InstallFailed(
            "TensorFlow Federated exists for Linux on x86-64 with glibc 2.31 or newer, and this is "
            f"{here}{f' with {library} {version}' if library else ''}; use engine='embedded', "
            "which needs nothing else."
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def _check_space(parent: Path) -> None:
    while not parent.exists():
        parent = parent.parent
    for place in {parent: None, Path(tempfile.gettempdir()): None}:
        free = shutil.disk_usage(place).free
        needed = NEEDED_BYTES if place == parent else NEEDED_BYTES // 3
        if free < needed:
            raise InstallFailed(
                f"TensorFlow Federated needs {needed / 1e9:.1f} GB in {place}, where "
                f"{free / 1e9:.1f} GB are free; make space, or name another folder with "
                f"{'--where' if place == parent else 'the environment variable TMPDIR'}."
            )


def _of_os_error(error: OSError, where: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk of {where} is full ({COSTS}); nothing of TensorFlow Federated is left "
            "there. Make space, or name another folder with --where."
        )
    return f"{error.filename or where}: {error.strerror or error}"


@contextlib.contextmanager
def _locked(where: Path) -> Iterator[None]:
    """One installation at a time."""
    path = where.parent / f".{where.name}.lock"
    try:
        where.parent.mkdir(parents=True, exist_ok=True)
        file = _lock(path)
    except OSError as error:
        raise InstallFailed(f"{where.parent}: {error.strerror or error}") from error
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _lock(path: Path):
    import fcntl  # not on Windows, which is refused with better words

    while True:
        file = open(path, "w")
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # whoever had it has removed it


def _asked(question: str) -> bool:
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return False
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _digest() -> str:
    return hashlib.sha256(PINS.read_bytes()).hexdigest()
