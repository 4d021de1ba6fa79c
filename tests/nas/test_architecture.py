from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from autokit.nas.architecture import from_json, to_json


@dataclass(frozen=True)
class Net:
    widths: tuple
    norm: str | None


class Cell(NamedTuple):
    edges: tuple
    ratio: float


@pytest.mark.parametrize(
    "value",
    [Net((3, 4), None), Cell(((0, 1, "conv"), (1, 2, "skip")), 0.1), (1, (2, ("a", True))), "a", 3],
)
def test_round_trip(value):
    assert from_json(json.loads(json.dumps(to_json(value))), type(value)) == value


@pytest.mark.parametrize("value", [[1, 2], Net(([1],), None), {"a": 1}, 1j])
def test_mutable_or_foreign_parts_are_refused(value):
    with pytest.raises(TypeError, match="an architecture must be made of dataclasses"):
        to_json(value)
