"""Look-up of what a user names, with an error that lists the known names."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping
from typing import Any


def by_name(argument: str, value: str, known: Mapping[str, Any], instead: str) -> Any:
    """Return ``known[value]``.

    Parameters
    ----------
    argument : str
        Name of the parameter, for the message.
    value : str
        What the user gave.
    known : mapping of str to object
    instead : str
        What else the parameter takes, for the message.

    Raises
    ------
    ValueError
        If the name is unknown; lists the known ones and suggests the nearest.
    """
    if isinstance(value, str) and value in known:
        return known[value]
    names = ", ".join(map(repr, sorted(known)))
    raise ValueError(
        f"The {argument!r} parameter must be one of {names}, or {instead}; got {value!r}."
        f"{did_you_mean(value, known)}"
    )


def did_you_mean(value: Any, known: Iterable[str]) -> str:
    """`` Did you mean 'name'?`` for the nearest of the known names; empty if none is near."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(str(value).lower(), names, n=1)
    return f" Did you mean {names[near[0]]!r}?" if near else ""


def described(part: Any) -> str:
    """A description of a space, a strategy or an evaluator that is the same in the next process."""
    if isinstance(part, str):
        return part
    if isinstance(part, functools.partial):
        return f"{described(part.func)}{part.args}{part.keywords}"
    if hasattr(part, "__qualname__"):
        return f"{part.__module__}.{part.__qualname__}"
    text = repr(part)
    return f"{type(part).__module__}.{type(part).__qualname__}" if " at 0x" in text else text
