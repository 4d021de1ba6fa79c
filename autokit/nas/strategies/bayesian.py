"""Bayesian optimisation: a Gaussian process over codes says what is worth a trial."""

from __future__ import annotations

import numpy as np

from autokit.nas.pareto import fronts
from autokit.nas.protocols import Evaluation
from autokit.nas.strategies.gaussian_process import GaussianProcess
from autokit.nas.strategies.proposals import unseen
from autokit.nas.strategies.ranks import objectives

AUGMENTATION = 0.05
MARGIN = 0.3  # among a hundred normal scores, the best is about as far ahead of the second
DRAWS = 64
MAX_ROWS = 300
MAX_CODES = 5000


class BayesianOptimization:
    """Propose the candidate with the greatest expected improvement, for one objective or several.

    ::

        z          = normal scores of all evaluations (of each objective)
        model      = Gaussian process from codes to z (one for each objective)
        candidates = random architectures, and mutants of the best
        repeat `rounds` times:
            candidates += mutants of the candidates of the greatest expected improvement
        propose the candidate of the greatest expected improvement over max(z) + 0.3

    With several objectives every proposal first draws weights, and improves
    ``min_j w_j (z_j - max z_j) + 0.05 sum_j w_j (z_j - max z_j)``: each direction of the Pareto
    front gets its turn. The expectation is then a mean over draws from the models.

    Until the model is asked, random architectures and mutants of the best so far take turns, so
    that even a short search gets ahead from where it starts. The margin of 0.3 is what a new
    record is worth: without it the search clings to the first local optimum.

    Scores enter by their ranks alone, so that it needs no scale, and a few very bad candidates or
    failures do not spoil the model. What is asked for in one go counts as evaluated, with the
    predicted result, when the next is chosen.

    Parameters
    ----------
    space : SearchSpace
    rng : numpy.random.Generator
    n_initial : int, default=10
        Evaluations before the model is asked.
    n_random : int, default=50
        Random candidates of a proposal.
    n_parents : int, default=5
        The best, whose mutants are candidates; in each round.
    n_mutants : int, default=20
        Of each parent.
    rounds : int, default=3

    References
    ----------
    White, Neiswanger, Savani, "BANANAS: Bayesian Optimization with Neural Architectures for Neural
    Architecture Search", AAAI 2021: candidates by mutation of the best. We depart from it with a
    Gaussian process in place of the ensemble, which a hundred evaluations suffice for, and climb
    the acquisition function. Jones, Schonlau, Welch, "Efficient Global Optimization of Expensive
    Black-Box Functions", 1998, equation 15: expected improvement. Knowles, "ParEGO", IEEE
    Transactions on Evolutionary Computation 10(1), 2006, equation 2: the weighting, here of the
    models' draws instead of the evaluations.
    """

    def __init__(
        self,
        space,
        rng,
        *,
        n_initial: int = 10,
        n_random: int = 50,
        n_parents: int = 5,
        n_mutants: int = 20,
        rounds: int = 3,
    ):
        numbers = {"n_initial": n_initial, "n_random": n_random, "n_parents": n_parents,
                   "n_mutants": n_mutants, "rounds": rounds}  # fmt: skip
        for name, number in numbers.items():
            if number < 1:
                raise ValueError(f"{name} must be at least 1; got {number}.")
        self.space, self.rng = space, rng
        self.n_initial, self.n_random, self.n_parents = n_initial, n_random, n_parents
        self.n_mutants, self.rounds = n_mutants, rounds
        self.told: dict = {}
        self._seen: set = set()
        self._codes: dict = {}
        self._models: list[GaussianProcess] = []

    def ask(self, n: int) -> list:
        """Propose random architectures and mutants of the best, then what the model is for."""
        if len(self.told) < self.n_initial or len({e.key for e in self.told.values()}) < 2:
            return [unseen(self._initial, self._seen) for _ in range(n)]
        return self._propose(n)

    def tell(self, evaluations) -> None:
        """Take note of results, whoever asked for them."""
        for evaluation in evaluations:
            self.told[evaluation.architecture] = evaluation
            self._seen.add(evaluation.architecture)

    def _initial(self):
        best = max(self.told.values(), key=lambda e: e.key, default=None)
        if best is None or best.score is None or len(self._seen) % 2 == 0:
            return self._random()
        return self.space.mutate(best.architecture, self.rng)

    def _random(self):
        return self.space.sample(self.rng)

    def _propose(self, n: int) -> list:
        known, z = _most_useful(list(self.told.values()))
        rows, proposals = [e.architecture for e in known], []
        X = self._encode(rows)
        low, width = X.min(axis=0), np.ptp(X, axis=0)
        width[width == 0] = 1.0
        X = (X - low) / width
        while len(self._models) < z.shape[1]:
            self._models.append(GaussianProcess())
        for model, column in zip(self._models, z.T, strict=True):
            model.fit(X, column)
        for _ in range(n):
            merit, improvement = self._acquisition(z)
            best = [rows[i] for i in np.argsort(-merit, kind="stable")[: self.n_parents]]
            chosen = self._search(best, lambda a, f=improvement: f((self._encode(a) - low) / width))
            proposals.append(chosen)
            self._seen.add(chosen)
            if len(proposals) < n:
                x = (self._encode([chosen]) - low) / width
                z = np.vstack([z, [model.predict(x)[0][0] for model in self._models]])
                X, rows = np.vstack([X, x]), [*rows, chosen]
                for model, column in zip(self._models, z.T, strict=True):
                    model.condition(X, column)
        return proposals

    def _acquisition(self, z):
        """The merit of each row, and a function from codes to expected improvement."""
        if z.shape[1] == 1:
            best = z.max() + MARGIN
            return z[:, 0], lambda X: log_expected_improvement(*self._models[0].predict(X), best)
        weights, top = self.rng.dirichlet(np.ones(z.shape[1])), z.max(axis=0)
        noise = self.rng.standard_normal((DRAWS, 1, z.shape[1]))

        def merit(values):
            behind = weights * (values - top)
            return behind.min(axis=-1) + AUGMENTATION * behind.sum(axis=-1)

        best = merit(z).max()

        def improvement(X):
            mean, deviation = np.stack([m.predict(X) for m in self._models], axis=-1)
            gain = np.maximum(merit(mean + deviation * noise) - best, 0.0).mean(axis=0)
            return gain + 1e-9 * merit(mean)  # tells candidates apart that no draw improves

        return merit(z), improvement

    def _search(self, parents, improvement):
        """Climb from random architectures and mutants of the parents."""
        candidates: dict = {}
        self._add(candidates, [self._random() for _ in range(self.n_random)], improvement)
        for _ in range(self.rounds):
            mutants = [
                self.space.mutate(parent, self.rng)
                for parent in parents
                for _ in range(self.n_mutants)
            ]
            self._add(candidates, mutants, improvement)
            parents = sorted(candidates, key=candidates.get, reverse=True)[: self.n_parents]
        return parents[0] if parents else unseen(self._random, self._seen)

    def _add(self, candidates, architectures, improvement) -> None:
        new = [a for a in dict.fromkeys(architectures) if not (a in candidates or a in self._seen)]
        if new:
            candidates.update(zip(new, improvement(new).tolist(), strict=True))

    def _encode(self, architectures) -> np.ndarray:
        if len(self._codes) > MAX_CODES:
            self._codes.clear()
        for architecture in architectures:
            if architecture not in self._codes:
                self._codes[architecture] = self.space.encode(architecture)
        return np.stack([self._codes[a] for a in architectures])


def log_expected_improvement(mean, deviation, best) -> np.ndarray:
    """Logarithm of the expected improvement of normal predictions over a target.

    ::

        EI = deviation * (u Phi(u) + phi(u)),    u = (mean - best) / deviation

    Parameters
    ----------
    mean, deviation : arrays of shape (n,)
    best : float

    Returns
    -------
    np.ndarray of shape (n,)
        Where the expectation is too small for a float, some smaller number that grows with ``u``.
    """
    from scipy.special import ndtr

    u = (mean - best) / deviation
    density = np.exp(-0.5 * u**2) / np.sqrt(2.0 * np.pi)
    expectation = deviation * (u * ndtr(u) + density)
    safe = expectation > 1e-280
    return np.where(safe, np.log(np.where(safe, expectation, 1.0)), np.minimum(u, 0.0) - 645.0)


def _most_useful(evaluations: list[Evaluation]) -> tuple[list[Evaluation], np.ndarray]:
    """The best and the newest, no more than the model can take, and their objectives."""
    z = objectives(evaluations)
    if len(evaluations) <= MAX_ROWS:
        return evaluations, z
    best = np.argsort(fronts(z), kind="stable")[: MAX_ROWS // 2].tolist()
    newest = range(len(evaluations) - MAX_ROWS // 2, len(evaluations))
    kept = [evaluations[i] for i in sorted({*best, *newest})]
    return kept, objectives(kept)
