"""How much privacy steps of the Poisson-subsampled Gaussian mechanism spend.

All figures are dp-accounting's; rows, or clients, are added or removed.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from autokit.privacy.parameters import DifferentialPrivacy

# Steps of the privacy losses on which distributions are tabulated. The errors are on the safe
# side: the coarse one gives some 0.3 % more epsilon, in a tenth of the time.
FINE, COARSE = 1e-4, 1e-3
MAX_STEPS = 1 << 40
LEAST_NOISE = 1e-2  # no budget is so large that less were of use


def dp_accounting():
    """The package of that name.

    Raises
    ------
    ImportError
        It is not installed.
    """
    try:
        import dp_accounting
        from dp_accounting import pld, rdp  # noqa: F401  its submodules
    except ImportError as error:
        raise ImportError(
            "Differential privacy is accounted for by the package dp-accounting, which is not "
            "installed; run: pip install 'autokit[privacy]'"
        ) from error
    return dp_accounting


class Phase(NamedTuple):
    """Steps alike.

    Attributes
    ----------
    noise_multiplier : float
        Standard deviation of the noise by the clipping norm.
    sampling_rate : float in (0, 1]
        Probability that a row, or a client, takes part in a step.
    n_steps : int
    """

    noise_multiplier: float
    sampling_rate: float
    n_steps: int


@dataclass(frozen=True)
class Ledger:
    """What has been spent of a budget, by steps of any noise and sampling rate.

    Parameters
    ----------
    privacy : DifferentialPrivacy
    phases : tuple of Phase, default=()

    Examples
    --------
    >>> from autokit.privacy import DifferentialPrivacy, Ledger
    >>> ledger = Ledger(DifferentialPrivacy(1.0, 1e-5, accountant="rdp"))
    >>> ledger = ledger.after(noise_multiplier=2.0, sampling_rate=0.01, n_steps=100)
    >>> round(ledger.epsilon, 2)
    0.26
    >>> ledger.affords(noise_multiplier=2.0, sampling_rate=0.01, n_steps=1000)
    True
    """

    privacy: DifferentialPrivacy
    phases: tuple[Phase, ...] = ()

    def after(self, *, noise_multiplier: float, sampling_rate: float, n_steps: int = 1) -> Ledger:
        """The ledger with further steps entered."""
        phase = _phase(noise_multiplier, sampling_rate, n_steps)
        phases = self.phases
        if phases and phases[-1][:2] == phase[:2]:
            phase = phase._replace(n_steps=phases[-1].n_steps + phase.n_steps)
            phases = phases[:-1]
        return replace(self, phases=(*phases, phase) if phase.n_steps else phases)

    @property
    def epsilon(self) -> float:
        """Spent so far at the budget's delta. 0.1 to 0.3 s with "pld", then remembered."""
        return _epsilon(self.privacy.accountant, self.privacy.delta, self.phases, FINE)

    @property
    def epsilon_bound(self) -> float:
        """A little more than `epsilon` with "pld" (some 0.3 %), in a tenth of the time."""
        return _epsilon(self.privacy.accountant, self.privacy.delta, self.phases, COARSE)

    @property
    def n_steps(self) -> int:
        """Steps so far."""
        return sum(phase.n_steps for phase in self.phases)

    def affords(self, *, noise_multiplier: float, sampling_rate: float, n_steps: int = 1) -> bool:
        """Whether the budget allows for further steps.

        Where they are like the last ones, the answer for every number of steps is found once
        (about a second with "pld") and remembered.
        """
        phase = _phase(noise_multiplier, sampling_rate, n_steps)
        phases, done = self.phases, 0
        if phases and phases[-1][:2] == phase[:2]:
            phases, done = phases[:-1], phases[-1].n_steps
        return done + phase.n_steps <= _steps_afforded(self.privacy, phases, *phase[:2])


def epsilon_spent(
    privacy: DifferentialPrivacy, *, noise_multiplier: float, n_steps: int, sampling_rate: float
) -> float:
    """Epsilon of equal steps, at the budget's delta.

    Parameters
    ----------
    privacy : DifferentialPrivacy
        Its `delta` and `accountant` are read.
    noise_multiplier : float > 0
        Standard deviation of the noise by the clipping norm.
    n_steps : int
    sampling_rate : float in (0, 1]
        Probability that a row, or a client, takes part in a step.

    Returns
    -------
    float

    Examples
    --------
    >>> from autokit.privacy import DifferentialPrivacy, epsilon_spent
    >>> privacy = DifferentialPrivacy(3.0, 1e-5, accountant="rdp")
    >>> steps = {"n_steps": 3515, "sampling_rate": 256 / 60000}
    >>> round(epsilon_spent(privacy, noise_multiplier=1.3, **steps), 3)
    0.954
    """
    steps = _phase(noise_multiplier, sampling_rate, n_steps)
    return _epsilon(privacy.accountant, privacy.delta, (steps,), FINE)


def noise_multiplier(privacy: DifferentialPrivacy, *, n_steps: int, sampling_rate: float) -> float:
    """The smallest noise with which steps stay within the budget.

    Parameters
    ----------
    privacy : DifferentialPrivacy
    n_steps : int
    sampling_rate : float in (0, 1]
        Probability that a row, or a client, takes part in a step.

    Returns
    -------
    float
        Standard deviation of the noise by the clipping norm, at most 0.01 % above the smallest;
        some seconds with "pld", then remembered.

    Examples
    --------
    >>> from autokit.privacy import DifferentialPrivacy, noise_multiplier
    >>> privacy = DifferentialPrivacy(8.0, 1e-5, accountant="rdp")
    >>> round(noise_multiplier(privacy, n_steps=2250, sampling_rate=0.04), 2)
    1.42
    """
    steps = _phase(1.0, sampling_rate, n_steps)
    if not steps.n_steps:
        raise ValueError("The 'n_steps' parameter must be at least 1; got 0.")
    return _calibrated(
        float(privacy.epsilon),
        float(privacy.delta),
        privacy.accountant,
        steps.n_steps,
        steps.sampling_rate,
    )


@functools.lru_cache(maxsize=256)
def _calibrated(epsilon, delta, accountant, n_steps, sampling_rate) -> float:
    def solved(kind, interval, low, high, tolerance):
        def spent(noise):
            return _epsilon(kind, delta, (Phase(noise, sampling_rate, n_steps),), interval)

        while high > LEAST_NOISE and spent(low) < epsilon:
            low, high = low / 2, low
        while spent(high) > epsilon:
            low, high = high, 2 * high
        return _root(spent, epsilon, low, high, tolerance) if high > LEAST_NOISE else high

    noise = solved("rdp", FINE, 0.5, 1.0, 1e-4 if accountant == "rdp" else 1e-2)
    if accountant == "rdp":
        return noise
    # Renyi divergences ask for some 10 % more noise, the coarse distribution for some 0.3 %
    noise = solved("pld", COARSE, 0.8 * noise, noise, 1e-3)
    return solved("pld", FINE, 0.995 * noise, noise, 1e-4)


def _root(spent, epsilon: float, low: float, high: float, tolerance: float) -> float:
    """The smallest noise in [low, high], up to a relative tolerance, that spends no more."""
    from scipy.optimize import brentq

    # nearly a straight line in logarithms
    def gap(log_noise):
        return math.log(max(spent(math.exp(log_noise)), 1e-300) / epsilon)

    noise = math.exp(brentq(gap, math.log(low), math.log(high), xtol=tolerance / 2))
    while spent(noise) > epsilon:
        noise *= 1 + tolerance / 2
    return noise


@functools.lru_cache(maxsize=256)
def _steps_afforded(privacy, phases, noise, sampling_rate) -> int:
    def affords(n_steps, kind) -> bool:
        spent = (*phases, Phase(noise, sampling_rate, n_steps)) if n_steps else phases
        return _epsilon(kind, privacy.delta, spent, FINE) <= privacy.epsilon

    def most(low, kind):
        step = max(1, low // 4)
        while affords(low + step, kind):
            low, step = low + step, 2 * step
            if low > MAX_STEPS:
                return low
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if affords(middle, kind) else (low, middle)
        return low

    if privacy.accountant == "rdp":
        return most(0, "rdp")
    start = most(0, "rdp") if affords(0, "rdp") else 0
    return most(start if affords(start, "pld") else 0, "pld")


@functools.lru_cache(maxsize=4096)
def _epsilon(accountant, delta, phases, interval) -> float:
    if not phases:
        return 0.0
    if accountant == "rdp":
        return _rdp_epsilon(delta, phases)
    # losses grow with the inverse square of the noise, and their table with them
    interval *= max(1.0, (0.5 / min(phase.noise_multiplier for phase in phases)) ** 2)
    total = None
    for phase in phases:
        steps = _step_losses(*phase[:2], interval).self_compose(phase.n_steps)
        total = steps if total is None else total.compose(steps)
    return float(total.get_epsilon_for_delta(delta))


@functools.lru_cache(maxsize=32)
def _step_losses(noise, sampling_rate, interval):
    losses = dp_accounting().pld.privacy_loss_distribution
    return losses.from_gaussian_mechanism(
        noise,
        sampling_prob=sampling_rate,
        value_discretization_interval=interval,
        use_connect_dots=True,
        neighboring_relation=dp_accounting().NeighboringRelation.ADD_OR_REMOVE_ONE,
    )


def _rdp_epsilon(delta, phases) -> float:
    # divergences add up; the package's own accountant would make those of a step anew each time
    total = sum(_step_divergences(*phase[:2]) * phase.n_steps for phase in phases)
    library = dp_accounting().rdp
    orders = library.rdp_privacy_accountant.DEFAULT_RDP_ORDERS
    return float(library.compute_epsilon(orders, total, delta)[0])


@functools.lru_cache(maxsize=256)
def _step_divergences(noise, sampling_rate):
    library = dp_accounting()
    event = library.PoissonSampledDpEvent(sampling_rate, library.GaussianDpEvent(noise))
    with _without_remarks_on_orders():
        # no public name gives the divergences themselves
        return library.rdp.RdpAccountant().compose(event)._rdp


@contextmanager
def _without_remarks_on_orders() -> Iterator[None]:
    # an order of Renyi's divergence that does not converge is left out, which is safe
    logger = logging.getLogger("absl")

    def keep(record):
        return "_compute_log_a_frac" not in record.getMessage()

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _phase(noise_multiplier, sampling_rate, n_steps) -> Phase:
    if not noise_multiplier > 0:
        raise ValueError(
            f"The 'noise_multiplier' parameter must be above 0; got {noise_multiplier!r}: without "
            "noise no epsilon is finite."
        )
    if not 0 < sampling_rate <= 1:
        raise ValueError(
            f"The 'sampling_rate' parameter must be in the range (0, 1]; got {sampling_rate!r}. "
            "It is the expected size of a step by the number of rows or clients."
        )
    if n_steps != int(n_steps) or n_steps < 0:
        raise ValueError(f"The 'n_steps' parameter must be an int of at least 0; got {n_steps!r}.")
    return Phase(float(noise_multiplier), float(sampling_rate), int(n_steps))
