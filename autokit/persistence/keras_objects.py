"""Keras objects as configurations, checked against an allow-list before Keras sees them.

Deserialising a Keras configuration looks up the classes and functions that it names. Only
names of layers, optimizers and the like pass, never one that runs code or reads a file:
no ``Lambda``, no saved models or foreign modules as layers, no vocabulary files, no module
outside Keras and autokit. A class that the user registered with
``keras.saving.register_keras_serializable`` passes if it is registered when the file is read;
nothing is imported for it.
"""

from __future__ import annotations

import json
import re
from typing import Any

_MODULES = re.compile(
    r"keras(\.src)?\.(layers|models|activations|initializers|regularizers|constraints|losses"
    r"|optimizers|metrics|dtype_policies|quantizers|ops|random)(\.\w+)*"
    r"|autokit(\.(?!__)\w+)*"
)
_TOP_NAMES = {"DTypePolicy", "FloatDTypePolicy", "Functional", "Model", "Sequential"}
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__"}
_REFUSED = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_FILES = ("vocabulary", "filepath", "file_path")


def is_keras(value: Any) -> bool:
    """Whether a value is a Keras object, or a function of Keras; Keras need not be loaded.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        True for models, layers, optimizers, losses, schedules, ``keras.losses.huber``, ...
    """
    if isinstance(value, type):
        return False
    if callable(value) and hasattr(value, "__qualname__"):
        return str(getattr(value, "__module__", "")).startswith("keras.")
    return any(cls.__module__.split(".")[0] == "keras" for cls in type(value).__mro__)


def is_model(value: Any) -> bool:
    """Whether a value is a Keras model."""
    from autokit._backend import keras

    return isinstance(value, keras.Model)


def config_of(value: Any) -> dict:
    """Return a Keras object's configuration, without what ``compile`` was given.

    Parameters
    ----------
    value : Keras object
        Model, layer, optimizer, loss, schedule, function of Keras.

    Returns
    -------
    dict
        For JSON.

    Raises
    ------
    ValueError
        If it has no configuration, or one that :func:`check_config` refuses.
    """
    from autokit._backend import keras

    try:
        config = keras.saving.serialize_keras_object(value)
    except (NotImplementedError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"it has no configuration ({_first_line(error)})") from error
    config.pop("compile_config", None)
    try:
        config = json.loads(json.dumps(config))
    except TypeError as error:
        raise ValueError(f"its configuration is no JSON ({_first_line(error)})") from error
    check_config(config)
    if isinstance(value, keras.losses.Loss):
        _check_loss(value, config)
    elif isinstance(value, keras.Model) and not type(value).__module__.startswith("keras."):
        _check_model(value, config)
    return config


def check_config(config: Any) -> None:
    """Refuse a configuration that names anything outside the allow-list.

    Parameters
    ----------
    config : dict, list or scalar
        A configuration, before Keras has seen it.

    Raises
    ------
    ValueError
        With the name that is not allowed.
    """
    stack = [config]
    while stack:
        part = stack.pop()
        if isinstance(part, dict):
            if "class_name" in part:
                _check_name(part)
            for key in _FILES:
                if isinstance(part.get(key), str):
                    raise ValueError(f"it reads the file {part[key]!r}; files are not allowed")
            stack.extend(part.values())
        elif isinstance(part, list | tuple):
            stack.extend(part)


def from_config(config: dict) -> Any:
    """Make a Keras object from a checked configuration.

    Parameters
    ----------
    config : dict
        From :func:`config_of`.

    Returns
    -------
    Keras object
        Models are built.

    Raises
    ------
    ValueError
        If the configuration is refused, or Keras cannot make an object of it.
    """
    from autokit._backend import keras

    check_config(config)
    try:
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:  # Keras lets whatever a constructor raises through
        raise ValueError(
            f"Keras {keras.__version__} cannot make {config.get('class_name')!r} from its "
            f"configuration ({_first_line(error)})"
        ) from error


def _check_name(part: dict) -> None:
    name, module = part["class_name"], part.get("module")
    if not isinstance(name, str):
        raise ValueError(f"the class name {name!r} is not allowed")
    if module is None and name in _VALUES:
        return
    if name in _REFUSED or name.startswith("__"):
        raise ValueError(f"{name!r} can run foreign code and is not allowed")
    # Keras looks functions up by their own name, whatever registered_name says.
    if _is_registered(part.get("config" if name == "function" else "registered_name")):
        return
    if isinstance(module, str):
        if module == "keras" and name in _TOP_NAMES:
            return
        if module == "builtins" and name == "function":
            return
        if _MODULES.fullmatch(module):
            return
    raise ValueError(
        f"{name!r} of module {module!r} is neither of Keras nor registered; register its class "
        "with keras.saving.register_keras_serializable and import it first"
    )


def _is_registered(name: Any) -> bool:
    from autokit._backend import keras

    return isinstance(name, str) and keras.saving.get_registered_object(name) is not None


def _check_loss(loss: Any, config: dict) -> None:
    """Refuse a loss whose configuration leaves settings out (Huber's delta, in Keras 3.15)."""
    settings, copied = (getattr(x, "_fn_kwargs", None) for x in (loss, from_config(config)))
    if settings != copied:
        raise ValueError(f"its configuration leaves out one of {settings}")


def _check_model(model: Any, config: dict) -> None:
    """Refuse a model of the user's own class that its configuration does not rebuild."""
    shapes, copied = ([tuple(v.shape) for v in m.variables] for m in (model, from_config(config)))
    if shapes != copied:
        raise ValueError(
            "its configuration rebuilds other variables; implement get_config, from_config and "
            "build in its class"
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
