"""The types that a file's ``state.json`` knows.

JSON's own values stand for themselves. Everything else is an object with the key ``"!"``, its
type:

    float, tuple, set, frozenset, dict, bytes, path, scalar, random, generator
    array       an array, as a member of the file in NumPy's format
    objects     an array of objects
    object      an instance of a class of autokit: its state, or its items if it is a tuple
    enum, type  a member of an enumeration, a class of autokit
    keras       a Keras object's configuration
    model       the same, and the values of the model's variables
    ref         an object met before
"""

from __future__ import annotations

import re
from typing import Any

TAG = "!"
ARRAY_KINDS = "biufcmMUS"
SCALAR_KINDS = "biuf"
BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
_CLASS = re.compile(r"autokit(\.(?!__)\w+)*:(?!__)\w+(\.(?!__)\w+)*")


def class_name(cls: type) -> str:
    """Return a class's name in a file: ``"module:qualified.name"``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def is_class_name(name: Any) -> bool:
    """Whether a name may be that of a class of autokit (nothing is imported)."""
    return isinstance(name, str) and _CLASS.fullmatch(name) is not None
