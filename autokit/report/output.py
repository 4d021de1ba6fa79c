"""Output folders that are checked before any work begins, and the JSON written into them."""

from __future__ import annotations

import dataclasses
import errno
import importlib.metadata
import json
import math
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_PROBE_BYTES = 16 * 2**20
_PACKAGES = (
    "autokit",
    "tensorflow",
    "keras",
    "scikit-learn",
    "numpy",
    "pandas",
    "optuna",
    "keras-tuner",
    "tensorflow-model-optimization",
    "ai-edge-litert",
)


def output_folder(path: str | os.PathLike, needed_bytes: int = _PROBE_BYTES) -> Path:
    """Create the folder and prove that it takes files, before hours are spent on its content.

    Parameters
    ----------
    path : path-like
        The folder; its parents are created too.
    needed_bytes : int, default=16 MiB
        So much is written into the folder, and removed again. Only this tells a full disk, a
        quota, a read-only mount and a missing permission alike.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    OSError
        The folder cannot be created, cannot be written to, or has too little room.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(needed_bytes))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"has less than {needed_bytes / 2**20:.0f} MiB of room"
        else:
            what = f"cannot be written to ({(error.strerror or str(error)).lower()})"
        raise OSError(
            f"the output folder {str(folder)!r} {what}; free it or name another folder."
        ) from error
    return folder


def write_json(path: str | os.PathLike, report: dict[str, Any]) -> None:
    """Write a report as JSON: values become plain ones, NaN and infinities null."""
    text = json.dumps(_plain(report), indent=2, allow_nan=False, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def environment() -> dict[str, str]:
    """Return the versions that a result depends on, without importing the packages."""
    versions = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": str(os.cpu_count()),
    }
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)
