"""Methods of few-shot learning, one file each."""

from __future__ import annotations

from typing import Any

from autokit.names import by_name, lazy

_PUBLIC = {
    "ANIL": "anil",
    "FOMAML": "fomaml",
    "FineTune": "finetune",
    "MAML": "maml",
    "Matching": "matching",
    "MetaSGD": "meta_sgd",
    "Prototypical": "prototypical",
    "Reptile": "reptile",
}

# Name of the parameter `method` -> class.
METHODS = {
    "anil": "ANIL",
    "finetune": "FineTune",
    "fomaml": "FOMAML",
    "maml": "MAML",
    "matching": "Matching",
    "meta_sgd": "MetaSGD",
    "prototypical": "Prototypical",
    "reptile": "Reptile",
}

__all__ = ["METHODS", "make", *_PUBLIC]

__getattr__, __dir__ = lazy(__name__, _PUBLIC)


def make(method: Any, **given: Any):
    """A method from its name, or from an instance.

    Parameters
    ----------
    method : str or MetaLearner
    **given
        Its parameters; those that are None, or that the method does not have, are left out.

    Returns
    -------
    MetaLearner
        A new one.

    Raises
    ------
    ValueError
        No method has that name, or an instance is given together with parameters of its own.
    """
    from sklearn.base import clone

    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(method, str):
        cls = __getattr__(by_name("method", method, METHODS, "an instance of a method"))
        known = cls().get_params(deep=False)
        return cls(**{name: value for name, value in given.items() if name in known})
    if isinstance(method, type):
        raise ValueError(
            f"The 'method' parameter is the class {method.__name__}; give an instance of it, "
            f"{method.__name__}()."
        )
    both = sorted(given.keys() & method.get_params(deep=False).keys())
    if both:
        raise ValueError(
            f"The {both[0]!r} parameter is given beside a method that has its own; set it in "
            f"method={type(method).__name__}({both[0]}=...), or name the method."
        )
    return clone(method)
