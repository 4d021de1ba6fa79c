"""Plain training on each experience: the lower bound."""

from __future__ import annotations

from dataclasses import dataclass

from autokit.continual.protocols import Strategy


@dataclass(kw_only=True, eq=False, repr=False)
class Naive(Strategy):
    """Train on the rows of each experience alone, and forget: the lower bound.

    Examples
    --------
    >>> from autokit.continual import Naive
    >>> Naive().uses_memory
    False
    """
