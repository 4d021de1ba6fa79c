"""Architectures as JSON and back."""

from __future__ import annotations

import dataclasses
from typing import Any


def to_json(architecture: Any) -> Any:
    """Return an architecture as JSON values: fields by name, tuples as lists.

    Parameters
    ----------
    architecture : dataclass, NamedTuple, tuple, str, int, float, bool or None

    Returns
    -------
    dict, list or scalar

    Raises
    ------
    TypeError
        If some part is none of these.

    Examples
    --------
    >>> from typing import NamedTuple
    >>> class Net(NamedTuple):
    ...     widths: tuple
    ...     activation: str
    >>> to_json(Net((64, 32), "relu"))
    {'widths': [64, 32], 'activation': 'relu'}
    """
    if architecture is None or type(architecture) in (str, int, float, bool):
        return architecture
    if dataclasses.is_dataclass(architecture):
        names = [field.name for field in dataclasses.fields(architecture)]
        return {name: to_json(getattr(architecture, name)) for name in names}
    if isinstance(architecture, tuple):
        names = getattr(architecture, "_fields", None)
        if names is not None:
            return {name: to_json(part) for name, part in zip(names, architecture, strict=True)}
        return [to_json(part) for part in architecture]
    raise TypeError(
        f"an architecture must be made of dataclasses, tuples, str, int, float, bool and None; "
        f"got {type(architecture).__name__} {architecture!r}. Convert it in the space's sample."
    )


def from_json(value: Any, architecture_type: type) -> Any:
    """Return the architecture of the given type that `to_json` had described.

    Parameters
    ----------
    value : dict, list or scalar
    architecture_type : type
        The dataclass, NamedTuple or plain type of the space's architectures.

    Examples
    --------
    >>> from_json([1, [2, 3]], tuple)
    (1, (2, 3))
    """
    if isinstance(value, dict):
        return architecture_type(**{name: _tuples(part) for name, part in value.items()})
    return _tuples(value)


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
