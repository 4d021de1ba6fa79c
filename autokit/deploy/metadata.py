"""What a .tflite file says about itself: labels, columns, shapes and more, inside the file.

Two readers are served. Android and iOS tools find a ``TFLITE_METADATA`` buffer, see
:mod:`autokit.deploy.standard_metadata`, that names and describes the tensors and points to
``labels.txt``. :class:`~autokit.deploy.TFLiteModel` reads ``autokit.json``. Both files are a zip
archive behind the flatbuffer, which ``unzip FILE.tflite`` opens and every runtime ignores.

``autokit.json`` holds::

    format, sha256    of this description; of the flatbuffer
    autokit, name     version that wrote it; the estimator's class
    task, classes     "classification", "regression" or "model"; labels in the order of outputs
    quantization      as asked for, null for float32
    signatures        for each: inputs and outputs with name, shape (null: any size), dtype, and
                      scale and zero_point where integers stand for numbers
    rows              what a row is: shape or columns, with the mean and scale of each, which THE
                      FILE APPLIES ITSELF: raw values go in, in the units of the training data
    target            mean and scale that the file applies to its outputs (regression)
    score             name, value and n_rows, if the file was scored when it was made
    head              the layer that can be trained, see :mod:`autokit.deploy.signatures`

References
----------
https://ai.google.dev/edge/litert/conversion/tensorflow/metadata (associated files), and
tensorflow/tflite-support, metadata_schema.fbs.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

IDENTIFIER = b"TFL3"
FORMAT = 1
JSON_NAME, LABELS_NAME = "autokit.json", "labels.txt"
_MAX_JSON_BYTES = 64 << 20


def attach(data: bytes, description: dict[str, Any]) -> bytes:
    """Write a description into a .tflite file.

    Parameters
    ----------
    data : bytes
        A .tflite file without associated files.
    description : dict
        For JSON. ``classes``, if there are any, become ``labels.txt``.

    Returns
    -------
    bytes
        The file, its flatbuffer protected by a SHA-256 in ``autokit.json``.
    """
    from autokit.deploy import flatbuffer, standard_metadata

    files = {}
    if description.get("classes") is not None:
        files[LABELS_NAME] = "\n".join(_one_line(c) for c in description["classes"]) + "\n"
    model = flatbuffer.parse(data)
    description = {**description, "signatures": flatbuffer.signatures_of(model)}
    standard = standard_metadata.packed(description, [JSON_NAME, *files])
    graph = flatbuffer.serialize(flatbuffer.with_metadata(model, "TFLITE_METADATA", standard))
    described = {
        "format": FORMAT,
        "sha256": hashlib.sha256(graph).hexdigest(),
        **description,
    }
    files[JSON_NAME] = json.dumps(described, ensure_ascii=False, separators=(",", ":"))
    archive = io.BytesIO(graph)
    archive.seek(0, io.SEEK_END)
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as members:
        for name, text in files.items():
            # A fixed date: the same model gives the same bytes.
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            members.writestr(member, text.encode())
    return archive.getvalue()


def read(path: str | Path) -> dict[str, Any]:
    """Read the description out of a .tflite file, and check the file.

    Parameters
    ----------
    path : str or Path
        A .tflite file.

    Returns
    -------
    dict
        What :func:`attach` was given; empty for a file that autokit did not write.

    Raises
    ------
    ValueError
        If the file is not a .tflite file, is truncated or corrupted, or comes from a newer
        version of autokit.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    data = path.read_bytes()
    if data[4:8] != IDENTIFIER:
        raise ValueError(
            f"path: {path} is not a .tflite file (it lacks the mark TFL3); export one with "
            "export_tflite."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if JSON_NAME not in members:
                return {}
            if members[JSON_NAME].file_size > _MAX_JSON_BYTES:
                raise zipfile.BadZipFile("oversized description")
            described = json.loads(archive.read(JSON_NAME))
            graph = data[: min(info.header_offset for info in members.values())]
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
        # The graph names its associated files: without them something has been cut off.
        if JSON_NAME.encode() in data:
            raise _corrupted(path) from error
        return {}
    if not isinstance(described, dict):
        raise _corrupted(path)
    if described.get("format", FORMAT) > FORMAT:
        raise ValueError(
            f"path: {path} has metadata of format {described['format']}, this autokit reads up to "
            f"{FORMAT}; upgrade autokit."
        )
    if described.get("sha256") != hashlib.sha256(graph).hexdigest():
        raise _corrupted(path)
    return described


def _corrupted(path: Path) -> ValueError:
    return ValueError(
        f"path: {path} is truncated or corrupted (its contents do not match the checksum that "
        "was written with it); copy or export it again."
    )


def _one_line(label: Any) -> str:
    return " ".join(str(label).splitlines())
