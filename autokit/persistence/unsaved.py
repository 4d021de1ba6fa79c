"""A stand-in for a parameter that a file cannot hold."""

from __future__ import annotations

from typing import Any, NoReturn


class Unsaved:
    """What a loaded estimator has in place of a function, a callback or another foreign object.

    Predicting goes on as before. A new ``fit`` that uses the parameter raises an error that
    says which object is missing.

    Parameters
    ----------
    description : str
        What it was, such as ``"function build_model"``.

    Examples
    --------
    >>> from autokit.persistence import Unsaved
    >>> Unsaved("function build_model")
    Unsaved('function build_model')
    """

    def __init__(self, description: str):
        self.description = description

    def __repr__(self) -> str:
        return f"Unsaved({self.description!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unsaved) and self.description == other.description

    def __hash__(self) -> int:
        return hash(self.description)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError(self._message())

    def __getattr__(self, name: str) -> NoReturn:
        # An AttributeError, so that hasattr and copy keep working.
        if name.startswith("__") or "description" not in self.__dict__:
            raise AttributeError(name)
        raise AttributeError(self._message())

    def _message(self) -> str:
        return (
            f"This parameter was a {self.description}, which autokit.save does not store; set it "
            "again with set_params before fitting."
        )


def describe(value: Any) -> str:
    """Describe a value that cannot be saved.

    Parameters
    ----------
    value : object
        A function, a class, or an instance.

    Returns
    -------
    str
        Such as ``"function build_model"`` or ``"TensorBoard object"``.
    """
    if isinstance(value, type):
        return f"class {value.__name__}"
    name = getattr(value, "__qualname__", None)
    return f"function {name}" if callable(value) and name else f"{type(value).__name__} object"
