"""The file: a zip of stored members, each with its SHA-256 in ``manifest.json``.

Members are stored without compression. Then a member is never larger than the file itself, and
a small file cannot unpack into a large one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
import zipfile
from pathlib import Path
from typing import Any

FORMAT = "autokit-estimator"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date: equal estimators give equal files


def write_archive(path: Path, header: dict, members: dict[str, bytes]) -> None:
    """Write a file whole, or not at all.

    Parameters
    ----------
    path : Path
        Where to; an existing file is replaced.
    header : dict
        What the manifest says beside format and members, for JSON.
    members : dict of str to bytes
        Contents by name.

    Raises
    ------
    OSError
        If it cannot be written; what was there before stays.
    """
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **header,
        "members": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    contents = {MANIFEST: json.dumps(manifest, indent=1).encode(), **members}
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with open(temporary, "xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, data in contents.items():
                    archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write the estimator: {error.strerror}; choose a folder that is writable and "
            "has space",
            str(path),
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_archive(path: Path) -> tuple[dict, dict[str, bytes]]:
    """Read a file and check every byte of it against its manifest.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    manifest : dict
        What ``manifest.json`` holds.
    members : dict of str to bytes
        The other members.

    Raises
    ------
    ValueError
        If it is no such file, or truncated, altered, or of a newer format.
    OSError
        If there is no such file, or it cannot be read.
    """
    with open(path, "rb") as file:
        start = file.read(4)
        try:
            with zipfile.ZipFile(file) as archive:
                contents = _contents(archive, os.fstat(file.fileno()).st_size)
        except _Refused as error:
            raise ValueError(f"{path} {error}") from None
        except _UNREADABLE as error:
            raise ValueError(f"{path} {_why_unreadable(start)}") from error
    if MANIFEST not in contents:
        raise ValueError(
            f"{path} is a zip without {MANIFEST}: autokit.save did not write it; pass a file that "
            "it wrote."
        )
    manifest = _manifest(path, contents.pop(MANIFEST))
    _check_members(path, manifest["members"], contents)
    return manifest, contents


# What zipfile raises on damaged input, in its several layers.
_UNREADABLE = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    OverflowError,
    ValueError,
    struct.error,
)


class _Refused(Exception):
    """A member that no file of ours has."""


def _contents(archive: zipfile.ZipFile, file_size: int) -> dict[str, bytes]:
    infos = archive.infolist()
    if len({info.filename for info in infos}) < len(infos):
        raise _Refused("names a member twice: it is damaged; save the estimator again.")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise _Refused(
                f"has the compressed or encrypted member {info.filename!r}, which autokit.save "
                "never writes; save the estimator again."
            )
    if sum(info.file_size for info in infos) > file_size:
        raise _Refused(
            "declares members larger than the file itself: it is damaged; save the estimator again."
        )
    return {info.filename: archive.read(info) for info in infos}


def _why_unreadable(start: bytes) -> str:
    if start == b"PK\x03\x04":
        return "is truncated or damaged; save the estimator again, or copy the file once more."
    return "is not a file that autokit.save wrote; pass one that it wrote."


def _manifest(path: Path, data: bytes) -> dict:
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} has an unreadable {MANIFEST}: it is damaged; save the estimator again."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(
            f"{path} is not an estimator's file: its {MANIFEST} is not of the format {FORMAT!r}; "
            "pass a file that autokit.save wrote."
        )
    version = manifest.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{path} has no valid format_version in {MANIFEST}; save it again.")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format {version}, written by autokit {manifest.get('autokit')!r}; this "
            f"version reads up to format {FORMAT_VERSION}: upgrade autokit."
        )
    members = manifest.get("members")
    if not isinstance(members, dict):
        raise ValueError(f"{path} lists no members in its {MANIFEST}; save it again.")
    return manifest


def _check_members(path: Path, expected: dict[str, Any], contents: dict[str, bytes]) -> None:
    for name in sorted({*expected, *contents}):
        if name not in contents:
            what = f"lacks its member {name!r}"
        elif name not in expected:
            what = f"has a member {name!r} that its {MANIFEST} does not list"
        elif hashlib.sha256(contents[name]).hexdigest() != expected[name]:
            what = f"has a member {name!r} whose SHA-256 is not the one in {MANIFEST}"
        else:
            continue
        raise ValueError(f"{path} {what}: it was damaged or altered; save the estimator again.")
