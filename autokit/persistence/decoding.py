"""JSON and arrays to objects, checked as a whole before anything is made."""

from __future__ import annotations

import base64
import enum
import importlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from autokit.persistence import keras_objects
from autokit.persistence.types import (
    ARRAY_KINDS,
    BIT_GENERATORS,
    SCALAR_KINDS,
    TAG,
    class_name,
    is_class_name,
)


class Reader:
    """Turns JSON and members into an object, after checking all of it.

    Parameters
    ----------
    members : dict of str to bytes
        Arrays, by name.
    """

    def __init__(self, members: dict[str, bytes]):
        self.members = members
        self._seen: dict[int, Any] = {}

    def check(self, tree: Any) -> None:
        """Refuse a tree that names anything which may not be made.

        Parameters
        ----------
        tree : JSON value
            From :class:`Writer`.

        Raises
        ------
        ValueError
            With the type or the name that is not allowed.
        """
        stack = [tree]
        while stack:
            part = stack.pop()
            if isinstance(part, list):
                stack.extend(part)
            elif isinstance(part, dict):
                kind = part.get(TAG)
                if kind is not None and f"_{kind}" not in _DECODERS:
                    raise ValueError(f"a value of unknown type {kind!r}")
                if "class" in part and kind is not None and not is_class_name(part["class"]):
                    raise ValueError(f"the class {part['class']!r} is not one of autokit's")
                if kind in ("keras", "model"):
                    keras_objects.check_config(part["config"])
                    stack.append(part.get("variables"))
                else:
                    stack.extend(part.values())

    def decode(self, tree: Any) -> Any:
        """Decode a tree that :meth:`check` passed.

        Parameters
        ----------
        tree : JSON value
            From :class:`Writer`.

        Returns
        -------
        object
            What was encoded.

        Raises
        ------
        ValueError, TypeError, KeyError
            If the tree is malformed.
        """
        if isinstance(tree, list):
            return [self.decode(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        if TAG in tree:
            return _DECODERS[f"_{tree[TAG]}"](self, tree)
        return {key: self.decode(value) for key, value in tree.items()}

    def _float(self, tree: dict) -> float:
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[tree["value"]]

    def _tuple(self, tree: dict) -> tuple:
        return tuple(self.decode(tree["items"]))

    def _set(self, tree: dict) -> set:
        return set(self.decode(tree["items"]))

    def _frozenset(self, tree: dict) -> frozenset:
        return frozenset(self.decode(tree["items"]))

    def _dict(self, tree: dict) -> dict:
        return dict(zip(self.decode(tree["keys"]), self.decode(tree["values"]), strict=True))

    def _bytes(self, tree: dict) -> bytes:
        return base64.b64decode(tree["value"], validate=True)

    def _path(self, tree: dict) -> Path:
        return Path(tree["value"])

    def _scalar(self, tree: dict) -> np.generic:
        if "array" in tree:
            return self._array(tree["array"])[()]
        return _dtype(tree["dtype"], SCALAR_KINDS).type(self.decode(tree["value"]))

    def _objects(self, tree: dict) -> np.ndarray:
        cells = np.empty(len(tree["items"]), dtype=object)
        for i, cell in enumerate(self.decode(tree["items"])):  # a slice would unpack lists
            cells[i] = cell
        return cells.reshape(tree["shape"])

    def _array(self, tree: dict) -> np.ndarray:
        array = _read_npy(self.members[tree["member"]])
        if tree.get("dtype") == "bfloat16":
            import ml_dtypes

            return array.astype(ml_dtypes.bfloat16)
        return array

    def _random(self, tree: dict) -> np.random.RandomState:
        random = np.random.RandomState()
        random.set_state(self.decode(tree["state"]))
        return random

    def _generator(self, tree: dict) -> np.random.Generator:
        state = self.decode(tree["state"])
        if state["bit_generator"] not in BIT_GENERATORS:
            raise ValueError(f"an unknown bit generator {state['bit_generator']!r}")
        bits = getattr(np.random, state["bit_generator"])()
        bits.state = state
        return np.random.Generator(bits)

    def _type(self, tree: dict) -> type:
        return _class(tree["class"])

    def _enum(self, tree: dict) -> enum.Enum:
        cls = _class(tree["class"])
        if not issubclass(cls, enum.Enum):
            raise ValueError(f"{tree['class']!r} is no enumeration")
        return cls[tree["name"]]

    def _object(self, tree: dict) -> Any:
        cls = _class(tree["class"])
        if hasattr(cls, "__del__"):
            raise ValueError(f"{tree['class']!r} acts when it is deleted, and is not allowed")
        if "items" in tree:
            return _named_tuple(cls, self.decode(tree["items"]))
        value = self._seen[tree["id"]] = cls.__new__(cls)
        state = self.decode(tree["state"])
        if hasattr(cls, "__setstate__"):
            value.__setstate__(state)
            return value
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        if attributes:
            value.__dict__.update(attributes)
        for name, content in (slots or {}).items():
            object.__setattr__(value, name, content)
        return value

    def _keras(self, tree: dict) -> Any:
        value = self._seen[tree["id"]] = keras_objects.from_config(tree["config"])
        return value

    def _model(self, tree: dict) -> Any:
        from autokit.training.state import ModelState, restore

        model = self._keras(tree)
        restore(model, ModelState(*self.decode(tree["variables"])))
        return model

    def _ref(self, tree: dict) -> Any:
        return self._seen[tree["id"]]


_DECODERS = {
    name: method
    for name, method in vars(Reader).items()
    if name.startswith("_") and not name.startswith("__")
}


def _class(name: str) -> type:
    if not is_class_name(name):
        raise ValueError(f"the class {name!r} is not one of autokit's")
    module, qualname = name.split(":")
    try:
        value: Any = importlib.import_module(module)
        for part in qualname.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"this version of autokit has no class {name!r}") from error
    if not isinstance(value, type) or class_name(value) != name:
        raise ValueError(f"the class {name!r} is not one of autokit's")
    return value


def _named_tuple(cls: type, items: list) -> Any:
    if not issubclass(cls, tuple) or len(items) != len(getattr(cls, "_fields", items)):
        raise ValueError(f"{cls.__name__} is no tuple of {len(items)}")
    return tuple.__new__(cls, items)


def _dtype(name: str, kinds: str) -> np.dtype:
    dtype = np.dtype(name)
    if dtype.kind not in kinds or dtype.names is not None:
        raise ValueError(f"an array of dtype {name!r} is not allowed")
    return dtype


def _read_npy(data: bytes) -> np.ndarray:
    buffer = io.BytesIO(data)
    version = np.lib.format.read_magic(buffer)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, is_fortran, dtype = read_header(buffer)
    _dtype(dtype.str, ARRAY_KINDS)
    # The header's size is checked against what is there before anything is allocated.
    if math.prod(shape) * dtype.itemsize != len(data) - buffer.tell():
        raise ValueError("an array's size is not that of its data")
    array = np.frombuffer(data, dtype, offset=buffer.tell())
    return array.reshape(shape, order="F" if is_fortran else "C").copy(order="K")
