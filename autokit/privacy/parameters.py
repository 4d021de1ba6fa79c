"""What a user asks of a private training."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any

from autokit.names import by_name

LEVELS = {"client": "one client's whole data set", "example": "one row"}
ACCOUNTANTS = {"pld": "privacy loss distributions", "rdp": "Renyi differential privacy"}


class PrivacyBudgetSpent(ValueError):
    """Going on would spend more than the budget allows."""


class PrivacyWarning(UserWarning):
    """The guarantee holds, but means less than one may think."""


@dataclass(frozen=True)
class DifferentialPrivacy:
    """A budget of (epsilon, delta)-differential privacy, and how it is kept.

    ``P[M(D) in S] <= exp(epsilon) P[M(D') in S] + delta`` for all sets S of trained models and all
    D, D' that differ by one row, or one client, added or removed.

    Parameters
    ----------
    epsilon : float > 0
        Up to 1 is strong; above 10 little is promised.
    delta : float in (0, 1)
        Well below 1 / (number of rows, or clients).
    clip_norm : float > 0 or "adaptive", default=1.0
        The l2 norm to which each gradient, or each client's change, is cut. "adaptive" follows
        the median norm, from 0.1 on, and spends a little of the budget on it (Andrew et al.
        2021).
    level : {"client", "example"}, default="client"
        Who is hidden: a client with all it has, or one row.
    accountant : {"pld", "rdp"}, default="pld"
        How the budget is accounted for, by dp-accounting: privacy loss distributions are tight,
        Renyi divergences looser and faster.

    Raises
    ------
    TypeError, ValueError
        A parameter is not what it must be.

    References
    ----------
    Dwork, Roth, "The Algorithmic Foundations of Differential Privacy", 2014, definition 2.4.

    Examples
    --------
    >>> from autokit.privacy import DifferentialPrivacy
    >>> DifferentialPrivacy(epsilon=2.0, delta=1e-5, level="example").is_adaptive
    False
    """

    epsilon: float
    delta: float
    clip_norm: Any = 1.0
    level: str = "client"
    accountant: str = "pld"

    def __init__(self, epsilon, delta, *, clip_norm=1.0, level="client", accountant="pld"):
        given = {"clip_norm": clip_norm, "level": level, "accountant": accountant}
        given |= {"epsilon": epsilon, "delta": delta}
        for name, value in given.items():
            object.__setattr__(self, name, value)
        _check_number("epsilon", epsilon, math.inf, "such as 1.0; smaller is more private")
        _check_number("delta", delta, 1.0, "such as 1e-5, well below one over the number of rows")
        if clip_norm != "adaptive":
            _check_number("clip_norm", clip_norm, math.inf, "or 'adaptive'")
        by_name("level", level, LEVELS, "nothing else")
        by_name("accountant", accountant, ACCOUNTANTS, "nothing else")

    @property
    def is_adaptive(self) -> bool:
        """Whether the clipping norm follows the norms it meets."""
        return self.clip_norm == "adaptive"


def warn_of_delta(privacy: DifferentialPrivacy, number: int, what: str, stacklevel: int) -> None:
    """Warn if delta is so large that it promises nothing to so many rows, or clients."""
    if privacy.delta >= 1 / number:
        warnings.warn(
            f"delta = {privacy.delta:g} is not below one over the number of {what}, {number}: a "
            f"training that publishes one of the {what} as it is would be as private. Take a delta "
            f"well below {1 / number:.1g}.",
            PrivacyWarning,
            stacklevel=stacklevel + 1,
        )


def _check_number(name, value, below, hint) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"The {name!r} parameter of DifferentialPrivacy must be a number; got {value!r}. "
            f"Give a number above 0, {hint}."
        )
    if not 0 < value < below:
        raise ValueError(
            f"The {name!r} parameter of DifferentialPrivacy must be in the range (0, "
            f"{below:g}); got {value!r}. Give a number above 0, {hint}."
        )
