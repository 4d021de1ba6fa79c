"""What a cheap evaluator is good for: where to start a search, and what to leave out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit.nas.hardware.feasible import FeasibleSpace
from autokit.nas.protocols import Architecture, Budget, Evaluation, Evaluator, SearchSpace

_TRIES_PER_SAMPLE = 20


def warm_start(
    space: SearchSpace,
    evaluator: Evaluator,
    *,
    n_samples: int = 50,
    n_best: int = 10,
    rng: np.random.Generator,
) -> list[Architecture]:
    """Rank random architectures, and return the best ones, the best first.

    Meant for the `start` of `autokit.nas.search.run`, and for any strategy: what is evaluated
    first is told to it.

    Parameters
    ----------
    space : SearchSpace
    evaluator : Evaluator
        Usually a `ZeroCostEvaluator`. Architectures that it fails for are left out.
    n_samples : int, default=50
        Different architectures drawn, fewer if the space is smaller.
    n_best : int, default=10
        Architectures returned at most.
    rng : np.random.Generator

    Returns
    -------
    list of architectures

    Raises
    ------
    ValueError
        If a number is below 1.
    RuntimeError
        If the evaluator failed for every sample; tells the first error.
    """
    for name, value in (("n_samples", n_samples), ("n_best", n_best)):
        if value < 1:
            raise ValueError(f"{name} of warm_start must be at least 1; got {value}.")
    ranked = sorted(_evaluated(space, evaluator, n_samples, rng), key=lambda e: e.key, reverse=True)
    return [e.architecture for e in ranked[:n_best]]


class ProxyGate:
    """Keeps out of a search what a cheap evaluator ranks low.

    Callable as the violation of a `FeasibleSpace`: zero for an architecture whose score is at
    least a quantile of the scores of a warm-up sample, else positive, and larger for a lower
    score. An architecture that the evaluator fails for does not pass.

    Parameters
    ----------
    space : SearchSpace
    evaluator : Evaluator
        Usually a `ZeroCostEvaluator`.
    quantile : float in [0, 1), default=0.5
        Share of the sample that would not pass.
    n_samples : int, default=50
        Different architectures of the warm-up.
    rng : np.random.Generator

    Attributes
    ----------
    threshold : float
        The lowest score that passes.

    Raises
    ------
    ValueError
        If `quantile` is not in [0, 1), or `n_samples` is below 1.
    RuntimeError
        If the evaluator failed for every sample; tells the first error.
    """

    def __init__(
        self,
        space: SearchSpace,
        evaluator: Evaluator,
        *,
        quantile: float = 0.5,
        n_samples: int = 50,
        rng: np.random.Generator,
    ):
        if not 0 <= quantile < 1:
            raise ValueError(f"quantile of ProxyGate must be in [0, 1); got {quantile}.")
        if n_samples < 1:
            raise ValueError(f"n_samples of ProxyGate must be at least 1; got {n_samples}.")
        self.evaluator = evaluator
        # the same for all, so that an architecture's answer does not depend on when it is asked
        self._seed = int(rng.integers(2**31))
        evaluations = _evaluated(space, evaluator, n_samples, rng, self._seed)
        scores = [e.score for e in evaluations]
        self._scores: dict[Any, float] = {e.architecture: e.score for e in evaluations}
        self.threshold = float(np.quantile(scores, quantile))
        self._scale = float(np.ptp(scores)) or 1.0

    def __call__(self, architecture: Architecture) -> float:
        """By how much of the sample's range the score is below the threshold; 0 if it is not."""
        if architecture not in self._scores:
            self._scores[architecture] = _score(self.evaluator, architecture, self._seed)
        return max(0.0, (self.threshold - self._scores[architecture]) / self._scale)


@dataclass(frozen=True)
class WarmUp:
    """How a zero-cost proxy prepares a search.

    Parameters
    ----------
    proxy : str or callable, default="synflow"
        See `ZeroCostEvaluator`.
    n_samples : int, default=50
        Random architectures that are ranked.
    n_best : int, default=3
        Of them, with which the search begins, after the default of the space.
    gate : float in [0, 1), default=0.0
        Quantile of the ranked scores below which an architecture is not tried at all; 0 lets all
        pass.
    """

    proxy: Any = "synflow"
    n_samples: int = 50
    n_best: int = 3
    gate: float = 0.0

    def prepare(self, space: SearchSpace, task: Any, rng: np.random.Generator) -> tuple:
        """Rank, and set up the gate.

        Parameters
        ----------
        space : SearchSpace
        task : Task
        rng : np.random.Generator

        Returns
        -------
        space : SearchSpace
            The same, or what the gate leaves of it.
        starts : list of architectures
        """
        from autokit.nas.evaluators import ZeroCostEvaluator

        evaluator = ZeroCostEvaluator(space, task, self.proxy)
        if self.gate:
            gate = ProxyGate(
                space, evaluator, quantile=self.gate, n_samples=self.n_samples, rng=rng
            )
            space = FeasibleSpace(space, gate)
        starts = warm_start(space, evaluator, n_samples=self.n_samples, n_best=self.n_best, rng=rng)
        return space, starts


def _evaluated(space, evaluator, n_samples, rng, seed=None) -> list[Evaluation]:
    """Evaluations of different random architectures, all with one seed, failures left out."""
    seed = int(rng.integers(2**31)) if seed is None else seed
    samples: dict[Architecture, None] = {}
    for _ in range(_TRIES_PER_SAMPLE * n_samples):
        samples[space.sample(rng)] = None
        if len(samples) == n_samples:
            break
    evaluations, first = [], None
    for architecture in samples:
        try:
            evaluation = evaluator(architecture, Budget(epochs=1, seed=seed))
        except Exception as error:
            first = first or error
            continue
        if evaluation.score is not None and np.isfinite(evaluation.score):
            evaluations.append(evaluation)
    if not evaluations:
        raise RuntimeError(
            f"the evaluator failed for each of {len(samples)} random architectures; the first "
            f"error: {first}"
        ) from first
    return evaluations


def _score(evaluator, architecture, seed: int) -> float:
    try:
        score = evaluator(architecture, Budget(epochs=1, seed=seed)).score
    except Exception:
        return -np.inf
    return -np.inf if score is None or np.isnan(score) else score
