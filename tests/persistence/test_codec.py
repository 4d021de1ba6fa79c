"""Typed JSON there and back, and what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from autokit.persistence.decoding import Reader
from autokit.persistence.encoding import Writer
from autokit.persistence.unsaved import Unsaved
from autokit.preprocessing import TableEncoder


def round_trip(value, is_parameter=False):
    writer = Writer()
    tree = json.loads(json.dumps(writer.encode(value, "value", is_parameter)))
    reader = Reader(writer.members)
    reader.check(tree)
    return reader.decode(tree)


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        if a.dtype == object:
            return a.shape == b.shape and all(map(same, a.ravel(), b.ravel()))
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    return a == b


def cells(*values):
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        12345678901234567890,
        0.1,
        -0.0,
        math.nan,
        -math.inf,
        "ü",
        b"\x00\xff",
        [1, [2.5, None]],
        (1, ("a",), []),
        {1, 2},
        frozenset({"a"}),
        {"a": 1, "b": {"c": (1,)}},
        {1: "one", "two": 2, None: 3},
        {"!": "not a type"},
        {"class": "evil:System"},
        Path("a/b"),
        np.float32(0.1),
        np.float64(math.nan),
        np.int64(-5),
        np.bool_(True),
        np.str_("x"),
        np.datetime64("2020-01-01"),
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(3.5, np.float16),
        np.zeros((0, 3)),
        np.array(["a", "ü"]),
        np.array([True, False]),
        np.array([1j]),
        cells("a", "b"),
        cells(1, None, 2.5, "x"),
        cells([1, 2], [3, 4]),
        Unsaved("function f"),
        TableEncoder,
    ],
    ids=repr,
)
def test_round_trip(value):
    assert same(round_trip(value), value)


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([0.1, 3.0], ml_dtypes.bfloat16)
    restored = round_trip(array)
    assert restored.dtype == array.dtype
    assert restored.tolist() == array.tolist()


@pytest.mark.parametrize("name", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_generators_go_on_where_they_were(name):
    rng = np.random.Generator(getattr(np.random, name)(3))
    rng.random(5)
    assert round_trip(rng).random() == rng.random()


def test_random_state_goes_on_where_it_was():
    random = np.random.RandomState(3)
    random.standard_normal(3)
    assert round_trip(random).standard_normal(4).tolist() == random.standard_normal(4).tolist()


def test_an_object_met_twice_is_one():
    encoder = TableEncoder().fit(np.eye(3))
    restored = round_trip([encoder, {"again": encoder}])
    assert restored[0] is restored[1]["again"]
    np.testing.assert_array_equal(restored[0].mean_, encoder.mean_)


def test_foreign_objects_in_parameters_and_elsewhere():
    assert round_trip([print, int, object()], is_parameter=True) == [
        Unsaved("function print"),
        Unsaved("class int"),
        Unsaved("object object"),
    ]
    encoder = TableEncoder(max_categories=len)
    assert round_trip(encoder).max_categories == Unsaved("function len")
    encoder.mean_ = {"deep": [object()]}
    message = r"value\.mean_\.deep\[0\] is a object object, which autokit.save cannot store"
    with pytest.raises(TypeError, match=message):
        round_trip(encoder)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"!": "pickle"}, "unknown type 'pickle'"),
        ({"!": "object", "class": "os:system", "state": {}}, "'os:system' is not one of autokit's"),
        ({"!": "type", "class": "autokit.x:__class__"}, "is not one of autokit's"),
        ({"!": "type", "class": "autokit.cli.__main__:main"}, "is not one of autokit's"),
        ({"!": "type", "class": "autokitty:main"}, "is not one of autokit's"),
        ([{"a": {"!": "enum", "class": "builtins:eval"}}], "is not one of autokit's"),
        ({"!": "type", "class": "autokit.nowhere:X"}, "has no class 'autokit.nowhere:X'"),
        ({"!": "type", "class": "autokit.preprocessing.table:Nothing"}, "has no class"),
        ({"!": "type", "class": "autokit.preprocessing.table:affine"}, "is not one of autokit's"),
        ({"!": "type", "class": "autokit.preprocessing.table:BaseEstimator"}, "is not one of"),
        ({"!": "type", "class": "autokit.preprocessing.raw:np.ndarray"}, "is not one of"),
        ({"!": "scalar", "dtype": "O", "value": 1}, "dtype 'O' is not allowed"),
        ({"!": "array", "member": "arrays/0.npy"}, "not that of its data"),
        ({"!": "array", "member": "arrays/1.npy"}, "dtype '.O' is not allowed"),
        ({"!": "generator", "state": {"bit_generator": "seed"}}, "unknown bit generator 'seed'"),
        (
            {"!": "object", "class": "autokit.preprocessing.table:TableEncoder", "items": []},
            "tuple",
        ),
    ],
)
def test_refused(tree, message):
    huge = (
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }"
    )
    objects = huge.replace(b"<f8", b"|O").replace(b"99999999999", b"1")
    members = {
        f"arrays/{i}.npy": data + b" " * (10 + 0x76 - len(data) - 1) + b"\n"
        for i, data in enumerate([huge, objects])
    }
    reader = Reader(members)
    with pytest.raises(ValueError, match=message):
        reader.check(tree)
        reader.decode(tree)
