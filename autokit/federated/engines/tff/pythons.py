"""Where a Python 3.11 is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

VERSION = "3.11"
_PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


class NoPython(RuntimeError):
    """There is no Python 3.11."""


def find_python(
    named: str | os.PathLike | None = None, say: Callable[[str], None] = lambda line: None
) -> Path:
    """Find a Python 3.11 that can make virtual environments.

    Parameters
    ----------
    named : path-like or None, default=None
        What the user names; by default the one that runs, ``python3.11`` on the path, those of
        pyenv, and what uv has or fetches, the first that will do.
    say : callable
        Is told if one is fetched.

    Raises
    ------
    NoPython
        There is none; says what was tried.
    """
    tried = []
    candidates = _candidates(say) if named is None else [named]
    for candidate in candidates:
        wrong = _wrong_with(candidate)
        if wrong is None:
            return Path(candidate)
        tried.append(f"{candidate} ({wrong})")
    found = f" Not fit: {'; '.join(tried)}." if tried else ""
    raise NoPython(
        f"TensorFlow Federated needs Python {VERSION}, and there is none here.{found} Install it "
        f"(your system's package python{VERSION}-venv, 'pyenv install {VERSION}' or 'uv python "
        f"install {VERSION}') or name one: autokit tff install --python PATH."
    )


def _candidates(say: Callable[[str], None]) -> Iterator[str | Path]:
    if f"{sys.version_info.major}.{sys.version_info.minor}" == VERSION:
        yield getattr(sys, "_base_executable", None) or sys.executable
    on_path = shutil.which(f"python{VERSION}")
    if on_path:
        yield on_path
    root = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    yield from sorted(root.glob(f"versions/{VERSION}.*/bin/python"), reverse=True)
    uv = shutil.which("uv")
    if uv:
        yield from _of_uv(uv, say)


def _of_uv(uv: str, say: Callable[[str], None]) -> Iterator[str]:
    find = [uv, "python", "find", "--managed-python", VERSION]
    found = _output(find)
    if found is None:
        say(f"fetching Python {VERSION} with uv")
        _output([uv, "python", "install", VERSION])
        found = _output(find)
    if found:
        yield found


def _wrong_with(candidate: str | os.PathLike) -> str | None:
    """Why it will not do; None if it will."""
    try:
        run = subprocess.run(
            [os.fspath(candidate), "-I", "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return getattr(error, "strerror", None) or "it does not answer"
    if run.returncode:
        return (run.stderr.strip().splitlines() or ["it fails"])[-1]
    version = run.stdout.strip()
    return None if version == VERSION else f"it is Python {version}"


def _output(command: list[str]) -> str | None:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None
