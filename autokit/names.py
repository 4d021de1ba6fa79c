"""Look-up of names: of what a user gives, with an error that lists the known; of packages."""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
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


def lazy(
    package: str, public: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list]]:
    """`__getattr__` and `__dir__` of a package whose names load when they are first used (PEP 562).

    Parameters
    ----------
    package : str
        Its ``__name__``.
    public : mapping of str to str
        The module of the package that each public name is in.

    Examples
    --------
    >>> import autokit.tuning
    >>> get, listed = lazy("autokit.tuning", {"Float": "dimensions"})
    >>> get("Float").__name__, "Float" in listed()
    ('Float', True)
    """
    namespace = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = getattr(importlib.import_module(f"{package}.{public[name]}"), name)
        return namespace[name]

    return get, lambda: sorted({*namespace, *public})
