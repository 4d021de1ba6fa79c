"""Distributions of scipy and Optuna, and whatever else can be drawn from, as dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit.tuning.dimensions import Categorical, Dimension, Float, Int

TAIL = 1e-6  # of the probability; beyond it an infinite tail is cut off
SEEDS = 2**31 - 1


def as_dimension(given: Any) -> tuple[Dimension, Callable | None] | None:
    """The dimension of a distribution, and what makes a value of the plain one.

    Parameters
    ----------
    given : object
        A frozen distribution of scipy (``uniform``, ``loguniform`` and ``randint`` become bounds,
        any other is searched by its quantile), a distribution of Optuna, or an object with
        ``rvs(random_state=...)``, of which the seed is searched.

    Returns
    -------
    (dimension, decode) or None
        None for what is no distribution.
    """
    if type(given).__module__.startswith("optuna."):
        return _from_optuna(given)
    if callable(getattr(given, "freeze", None)):  # a family of scipy, at its standard parameters
        given = given.freeze()
    bounded = _bounded(given)
    if bounded is not None:
        return bounded, None
    if hasattr(given, "ppf") or hasattr(given, "icdf"):
        return Float(0, 1), Quantile(given)
    if hasattr(given, "rvs"):
        return Int(0, SEEDS), Draw(given)
    return None


@dataclass(frozen=True)
class Quantile:
    """The value of a distribution below which a share of its probability lies.

    Parameters
    ----------
    distribution : object
        With ``ppf`` (or ``icdf``) and ``support``.
    """

    distribution: Any

    def __call__(self, share: float) -> Any:
        quantile = getattr(self.distribution, "ppf", None) or self.distribution.icdf
        support = getattr(self.distribution, "support", lambda: (-math.inf, math.inf))
        low, high = (float(bound) for bound in support())
        share = min(
            max(share, 0.0 if math.isfinite(low) else TAIL),
            1.0 if math.isfinite(high) else 1 - TAIL,
        )
        value = float(min(max(quantile(share), low), high))
        return round(value) if _is_discrete(self.distribution) else value

    def __repr__(self) -> str:
        return f"Quantile({_shown(self.distribution)})"


@dataclass(frozen=True)
class Draw:
    """What an object draws with a seed.

    Parameters
    ----------
    source : object
        With ``rvs(random_state=...)``.
    """

    source: Any

    def __call__(self, seed: int) -> Any:
        value = self.source.rvs(random_state=np.random.RandomState(seed))
        return value.item() if np.ndim(value) == 0 and hasattr(value, "item") else value

    def __repr__(self) -> str:
        return f"Draw({_shown(self.source)})"


def _bounded(given: Any) -> Dimension | None:
    """Bounds, where they say all about a frozen distribution of scipy."""
    family = getattr(getattr(given, "dist", None), "name", None)
    if family not in ("uniform", "loguniform", "reciprocal", "randint"):
        return None
    low, high = given.support()
    if family == "uniform":
        return Float(low, high)
    if family == "randint":
        return Int(int(low), int(high))
    _, loc, _ = given.dist._parse_args(*given.args, **given.kwds)
    return Float(low, high, log=True) if loc == 0 else None


def _from_optuna(given: Any) -> tuple[Dimension, Callable | None] | None:
    from optuna import distributions as known

    if isinstance(given, known.CategoricalDistribution):
        return Categorical(given.choices), None
    if isinstance(given, known.IntDistribution):
        return Int(given.low, given.high, step=given.step, log=given.log), None
    if isinstance(given, known.FloatDistribution):
        return Float(given.low, given.high, step=given.step, log=given.log), None
    return None


def _is_discrete(distribution: Any) -> bool:
    return hasattr(getattr(distribution, "dist", distribution), "pmf") and not hasattr(
        getattr(distribution, "dist", distribution), "pdf"
    )


def _shown(distribution: Any) -> str:
    family = getattr(distribution, "dist", None)
    if family is None:
        text = repr(distribution)
        return type(distribution).__qualname__ if " at 0x" in text else text
    settings = [repr(a) for a in distribution.args]
    settings += [f"{name}={value!r}" for name, value in distribution.kwds.items()]
    return f"{family.name}({', '.join(settings)})"
