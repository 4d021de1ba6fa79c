"""Output folders are proven before the work; reports are valid JSON."""

from __future__ import annotations

import collections
import dataclasses
import errno
import json
import os

import numpy as np
import pytest

from autokit.report import environment, output_folder, write_json


def test_folder_is_created_and_left_empty(tmp_path):
    folder = output_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []


def test_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"output folder '.*file/out' cannot be written to \(not a"):
        output_folder(tmp_path / "file" / "out")


def test_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match=r"cannot be written to \(file exists\); .*another folder"):
        output_folder(tmp_path / "file")


def test_full_disk_is_found(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="has less than 16 MiB of room; free it or name another"):
        output_folder(tmp_path)


def test_report_is_plain_json(tmp_path):
    report = {
        "array": np.arange(3),
        "scalar": np.float32(0.5),
        "nan": float("nan"),
        "tuple": (1, None, "ä"),
        "path": tmp_path,
        3: True,
    }
    write_json(tmp_path / "r.json", report)
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == {
        "array": [0, 1, 2],
        "scalar": 0.5,
        "nan": None,
        "tuple": [1, None, "ä"],
        "path": str(tmp_path),
        "3": True,
    }


def test_environment_names_the_versions():
    versions = environment()
    assert versions["numpy"] == np.__version__
    assert {"python", "autokit", "tensorflow", "keras"} <= set(versions)


def test_records_keep_their_field_names(tmp_path):
    Point = collections.namedtuple("Point", "x y")
    record = dataclasses.make_dataclass("Record", ["point", "path"])(Point(1, 2), tmp_path)
    write_json(tmp_path / "r.json", {"record": record})
    assert json.loads((tmp_path / "r.json").read_text())["record"] == {
        "point": {"x": 1, "y": 2},
        "path": str(tmp_path),
    }
