"""Objects to JSON and arrays, typed, without pickle."""

from __future__ import annotations

import base64
import enum
import io
import math
from pathlib import PurePath
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
from autokit.persistence.unsaved import Unsaved, describe


class Writer:
    """Turns an object into JSON and members.

    Attributes
    ----------
    members : dict of str to bytes
        Arrays met so far, in NumPy's format, by the name of their member.
    """

    def __init__(self) -> None:
        self.members: dict[str, bytes] = {}
        self._seen: dict[int, tuple[Any, dict]] = {}

    def encode(self, value: Any, where: str, is_parameter: bool = False) -> Any:
        """Encode a value.

        Parameters
        ----------
        value : object
            Anything.
        where : str
            What error messages call it.
        is_parameter : bool, default=False
            Whether it belongs to a parameter: then what cannot be saved becomes `Unsaved`.

        Returns
        -------
        JSON value
            What :class:`Reader` decodes.

        Raises
        ------
        TypeError
            If it cannot be saved, and is no parameter.
        """
        if isinstance(value, np.generic):
            return self._scalar(value, where)
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {TAG: "float", "value": repr(value)}
        if id(value) in self._seen:
            return self._seen[id(value)][1]
        for encode in (self._container, self._array, self._random, self._object, self._keras):
            encoded = encode(value, where, is_parameter)
            if encoded is not NotImplemented:
                return encoded
        if is_parameter:
            return self.encode(Unsaved(describe(value)), where)
        raise TypeError(
            f"{where} is a {describe(value)}, which autokit.save cannot store; remove it from the "
            "estimator, or use joblib.dump."
        )

    def _container(self, value: Any, where: str, is_parameter: bool) -> Any:
        def items(values):
            return [self.encode(v, f"{where}[{i}]", is_parameter) for i, v in enumerate(values)]

        if type(value) is list:
            return items(value)
        if type(value) is tuple:
            return {TAG: "tuple", "items": items(value)}
        if type(value) in (set, frozenset):
            ordered = sorted(value, key=lambda v: (type(v).__name__, repr(v)))
            return {TAG: type(value).__name__, "items": items(ordered)}
        if type(value) is dict:
            if all(type(key) is str and key != TAG for key in value):
                return {k: self.encode(v, f"{where}.{k}", is_parameter) for k, v in value.items()}
            return {TAG: "dict", "keys": items(value), "values": items(value.values())}
        if type(value) is bytes:
            return {TAG: "bytes", "value": base64.b64encode(value).decode()}
        if isinstance(value, PurePath):
            return {TAG: "path", "value": str(value)}
        return NotImplemented

    def _scalar(self, value: np.generic, where: str) -> dict:
        if value.dtype.kind in SCALAR_KINDS and value.dtype.itemsize <= 8:
            return {
                TAG: "scalar",
                "dtype": value.dtype.str,
                "value": self.encode(value.item(), where),
            }
        return {TAG: "scalar", "array": self._array(np.asarray(value), where, False)}

    def _array(self, value: Any, where: str, is_parameter: bool) -> Any:
        if type(value) is not np.ndarray:
            return NotImplemented
        if value.dtype.kind == "O":
            cells = [self.encode(v, where, is_parameter) for v in value.ravel().tolist()]
            return {TAG: "objects", "shape": list(value.shape), "items": cells}
        dtype = None
        if value.dtype.kind == "V" and value.dtype.names is None and value.dtype.itemsize == 2:
            dtype = value.dtype.name  # bfloat16, which float32 holds exactly
            value = value.astype(np.float32)
        if value.dtype.kind not in ARRAY_KINDS:
            return NotImplemented
        name = f"arrays/{len(self.members)}.npy"
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, value, allow_pickle=False)
        self.members[name] = buffer.getvalue()
        encoded = {TAG: "array", "member": name}
        return encoded if dtype is None else {**encoded, "dtype": dtype}

    def _random(self, value: Any, where: str, is_parameter: bool) -> Any:
        if type(value) is np.random.RandomState:
            kind, state = "random", value.get_state(legacy=False)
        elif type(value) is np.random.Generator:
            kind, state = "generator", value.bit_generator.state
        else:
            return NotImplemented
        if state["bit_generator"] not in BIT_GENERATORS:
            return NotImplemented
        return {TAG: kind, "state": self.encode(state, where)}

    def _object(self, value: Any, where: str, is_parameter: bool) -> Any:
        cls = value if isinstance(value, type) else type(value)
        name = class_name(cls)
        if not is_class_name(name):
            return NotImplemented
        if isinstance(value, type):
            return {TAG: "type", "class": name}
        if isinstance(value, enum.Enum):
            return {TAG: "enum", "class": name, "name": value.name}
        if isinstance(value, tuple):
            items = [self.encode(v, f"{where}[{i}]", is_parameter) for i, v in enumerate(value)]
            return {TAG: "object", "class": name, "items": items}
        number = self._remember(value)
        state = value.__getstate__()
        if isinstance(state, dict):
            state = self._state(value, state, where, is_parameter)
        else:
            state = self.encode(state, where, is_parameter)
        return {TAG: "object", "class": name, "id": number, "state": state}

    def _state(self, value: Any, state: dict, where: str, is_parameter: bool) -> dict:
        get_params = getattr(value, "get_params", None)
        # Of an object without parameters in scikit-learn's sense, all public settings are.
        parameters = get_params(deep=False) if get_params else state
        return {
            name: self.encode(
                content,
                f"{where}.{name}",
                is_parameter or (name in parameters and not name.endswith("_") and name[0] != "_"),
            )
            for name, content in state.items()
        }

    def _keras(self, value: Any, where: str, is_parameter: bool) -> Any:
        if not keras_objects.is_keras(value):
            return NotImplemented
        try:
            config = keras_objects.config_of(value)
        except ValueError as error:
            if is_parameter:
                return NotImplemented
            raise TypeError(
                f"{where} is a Keras {type(value).__name__} that cannot be stored: {error}."
            ) from error
        number = self._remember(value)
        if not keras_objects.is_model(value):
            return {TAG: "keras", "id": number, "config": config}
        # TensorFlow is loaded only with the first model.
        from autokit.training.state import snapshot

        variables = [self.encode(list(part), where) for part in snapshot(value)]
        return {TAG: "model", "id": number, "config": config, "variables": variables}

    def _remember(self, value: Any) -> int:
        number = len(self._seen)
        # The value is kept too, so that its id is not given to another.
        self._seen[id(value)] = (value, {TAG: "ref", "id": number})
        return number
