"""What the comparison of two machines lets pass, and what not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def arm64():
    path = Path(__file__).parents[1] / ".ci" / "arm64.py"
    spec = importlib.util.spec_from_file_location("arm64", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _compared(arm64, folder, key, here, there):
    np.savez(folder / "here.npz", **{key: np.array(here)})
    np.savez(folder / "arm64.npz", **{key: np.array(there)})
    return arm64.compare(folder)


@pytest.mark.parametrize(
    ("key", "there", "status"),
    [
        ("mlp.none", [[0.9, 0.1], [0.495, 0.505]], 0),
        ("mlp.int8", [[0.85, 0.15], [0.505, 0.495]], 0),  # a toss-up may turn
        ("mlp.none", [[0.85, 0.15], [0.495, 0.505]], 1),
        ("mlp.int8", [[0.1, 0.9], [0.495, 0.505]], 1),
        ("mlp.int8", [[np.nan, 0.1], [0.495, 0.505]], 1),
    ],
)
def test_status(arm64, tmp_path, capsys, key, there, status):
    here = [[0.9, 0.1], [0.495, 0.505]]
    assert _compared(arm64, tmp_path, key, here, there) == status
    assert ("arm64 answers otherwise: mlp." in capsys.readouterr().out) == bool(status)


def test_no_file_is_no_success(arm64, tmp_path):
    for name in ("here", "arm64"):
        np.savez(tmp_path / f"{name}.npz")
    assert arm64.compare(tmp_path) == 1
