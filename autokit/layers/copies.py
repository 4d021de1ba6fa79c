"""Copies of Keras models, made from their configuration."""

from __future__ import annotations

from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from autokit._backend import keras

_OURS = ("keras", "autokit")
# Of these come only numbers, shapes and signatures, unless they can be called.
_DATA = ("builtins", "inspect", "ml_dtypes", "numpy", "tensorflow")
_PLAIN = str | int | float | keras.KerasTensor | keras.Variable | None
# A layer may be part of a larger model behind it; the tracker lists what other attributes hold.
_UNREAD = ("_outbound_nodes", "_tracker")


def copied(model: keras.Model, config: dict[str, Any] | None = None) -> keras.Model:
    """Copy a built model with its weights; the copy shares no variable with the original.

    Parameters
    ----------
    model : keras.Model
        Describes itself by ``get_config``.
    config : dict, default=None
        Instead of the model's own; it must give the same variables in the same order.

    Returns
    -------
    keras.Model
        Of the same class, built; it calls the same functions.

    Raises
    ------
    ValueError
        Functions or classes of the user's own are not found by the names that a configuration
        knows them by, or others are.
    """
    used = _identities(model)
    own = {part for part in used if not _is_ours(part)}
    try:
        if any(part.__name__ == "<lambda>" for part in own):
            raise TypeError("A lambda has no name.")  # Keras would warn of it first
        copy = type(model).from_config(model.get_config() if config is None else config)
    except Exception as error:
        if own:
            raise _not_copied(own) from error
        raise
    _put_back(used - _identities(copy), model, copy)
    lost = used ^ _identities(copy)
    if lost:
        raise _not_copied(lost)
    if not copy.built:
        copy.build(model.input_shape)
    copy.set_weights(model.get_weights())
    settle(copy)
    return copy


def settle(model: keras.Model) -> None:
    """Make layers that compute with constants derive them anew from their weights."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def foreign_parts(part: Any) -> list:
    """What of a model, or of another Keras object, is code of neither Keras nor autokit.

    A configuration cannot tell: a function of the user's that is called ``relu`` is described as
    Keras' own is.

    Parameters
    ----------
    part : keras.Model or object

    Returns
    -------
    list
        Functions and objects.
    """
    return [found for found in _code_of(part) if not _is_ours(found)]


def _code_of(part: Any) -> Iterator:
    """Functions, and objects that are not ours, in whatever the layers hold."""
    seen: dict[int, Any] = {}  # holds what it has seen: a number may be given again
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, _PLAIN):
            continue
        seen[id(part)] = part
        if isinstance(part, dict):
            waiting += list(part.values())
            continue
        if isinstance(part, list | tuple | set | frozenset):
            waiting += list(part)
            continue
        is_ours = _root(type(part)) in _OURS
        if not is_ours and (callable(part) or _root(type(part)) not in _DATA):
            yield part
        if isinstance(part, keras.Model):
            # not what it was compiled with: that is no part of the architecture
            waiting += [getattr(part, "operations", None) or part.layers]
        elif is_ours or isinstance(part, keras.Layer):
            held = list(getattr(part, "__dict__", {}).items())
            waiting += [value for name, value in held if name not in _UNREAD]


def _is_ours(part) -> bool:
    if not isinstance(part, FunctionType):
        return False
    # its module would be what functools.wraps wrote there
    if _root(part.__globals__) not in _OURS:
        return False
    # a method or an inner function comes with its class; others must be found by their names
    return "." in part.__qualname__ or getattr(keras.activations, part.__name__, None) is part


def _root(home: type | dict) -> str:
    name = home.get("__name__") if isinstance(home, dict) else home.__module__
    return str(name).split(".")[0]


def _identity(part) -> Any:
    """What a part of a copy must have in common with that of the original."""
    if isinstance(part, MethodType):
        return part.__func__
    return part if isinstance(part, FunctionType | BuiltinFunctionType) else type(part)


def _identities(model: keras.Model) -> set:
    found = {_identity(part) for part in _code_of(model) if callable(part)}
    # each layer has inner functions of its own, which its class makes
    makers = tuple(f"{kind.__qualname__}." for kind in found if isinstance(kind, type))
    inner = {
        part
        for part in found
        if not isinstance(part, type)
        and (part.__qualname__.startswith(makers) or "." in part.__qualname__ and _is_ours(part))
    }
    return found - inner


def _put_back(lost: set, model: keras.Model, copy: keras.Model) -> None:
    """Give functions to the copy whose names are those of others."""
    pairs = [list(part._flatten_layers()) for part in (model, copy)]
    if lost and len(pairs[0]) == len(pairs[1]):
        for layer, other in zip(*pairs, strict=True):
            for name, value in list(vars(layer).items()):
                if isinstance(value, FunctionType) and value in lost and name in vars(other):
                    setattr(other, name, value)


def _not_copied(parts: set) -> ValueError:
    names = sorted({part.__name__ for part in parts})
    return ValueError(
        f"The 'model' cannot be copied, since its configuration does not give back {names} as "
        "used in it. Pass a function of (input_shape, n_outputs) that builds the model, or give "
        "each function and class of your own a name that is not Keras' nor another's, and "
        "register it with keras.saving.register_keras_serializable."
    )
