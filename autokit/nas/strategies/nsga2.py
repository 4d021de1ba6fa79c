"""NSGA-II: evolution of a whole Pareto front."""

from __future__ import annotations

import numpy as np

from autokit.nas.pareto import crowding_distance, fronts
from autokit.nas.strategies.proposals import unseen
from autokit.nas.strategies.ranks import objectives


class NSGA2:
    """Breed from the first fronts, and there from the least crowded.

    ::

        population = the best `population_size` of everybody evaluated, by (front, crowding)
        parents    = the better of two random members, twice
        child      = crossover(parents) with probability `crossover_rate`, else the first parent
        child      = mutate(child) with probability `mutation_rate`, and where it is a copy

    Feasible evaluations come before those that violate a constraint, these in the order of their
    violation, and failures come last (Deb's rule). With one objective it is a plain genetic
    algorithm.

    Parameters
    ----------
    space : SearchSpace
    rng : numpy.random.Generator
    population_size : int, default=20
        The paper's 100 is for 25,000 evaluations.
    crossover_rate : float in [0, 1], default=0.9
    mutation_rate : float in [0, 1], default=0.8

    References
    ----------
    Deb, Pratap, Agarwal, Meyarivan, "A Fast and Elitist Multiobjective Genetic Algorithm:
    NSGA-II", IEEE Transactions on Evolutionary Computation 6(2), 2002, sections III and VI. We
    depart from it by a steady state: parents are chosen anew for every child, as an evaluation
    costs more than a sort; and a child that was proposed before is bred again, up to 50 times.
    """

    def __init__(
        self,
        space,
        rng,
        *,
        population_size: int = 20,
        crossover_rate: float = 0.9,
        mutation_rate: float = 0.8,
    ):
        if population_size < 2:
            raise ValueError(f"population_size must be at least 2; got {population_size}.")
        for name, rate in (("crossover_rate", crossover_rate), ("mutation_rate", mutation_rate)):
            if not 0 <= rate <= 1:
                raise ValueError(f"{name} must be in [0, 1]; got {rate}.")
        self.space, self.rng = space, rng
        self.population_size = population_size
        self.crossover_rate, self.mutation_rate = crossover_rate, mutation_rate
        self.population: list = []
        self._seen: set = set()

    def ask(self, n: int) -> list:
        """Propose random architectures until the population is full, then children."""
        missing = self.population_size - len(self.population)
        return [unseen(self._random if i < missing else self._child, self._seen) for i in range(n)]

    def tell(self, evaluations) -> None:
        """Let the population and the newcomers compete."""
        self._seen.update(e.architecture for e in evaluations)
        members = {e.architecture: e for e in [*self.population, *evaluations]}
        self.population = survivors(list(members.values()))[: self.population_size]

    def _random(self):
        return self.space.sample(self.rng)

    def _parent(self):
        # members are in the order of the crowded comparison: the lower place wins the tournament
        return self.population[self.rng.integers(len(self.population), size=2).min()].architecture

    def _child(self):
        first = child = self._parent()
        if self.rng.random() < self.crossover_rate:
            child = self.space.crossover(first, self._parent(), self.rng)
        if self.rng.random() < self.mutation_rate or child in self._seen:
            child = self.space.mutate(child, self.rng)
        return child


def survivors(evaluations) -> list:
    """Evaluations in the order of the crowded comparison: front first, then the less crowded.

    Parameters
    ----------
    evaluations : sequence of Evaluation

    Returns
    -------
    list of Evaluation
    """
    if not evaluations:
        return []
    values = objectives(evaluations)
    violations = np.array([_violation(e) for e in evaluations])
    layers = np.zeros(len(evaluations))
    feasible = violations == 0
    layers[feasible] = fronts(values[feasible])
    # every degree of violation is a front of its own, behind all feasible ones
    layers[~feasible] = len(evaluations) + np.unique(violations, return_inverse=True)[1][~feasible]
    crowding = np.zeros(len(evaluations))
    for layer in np.unique(layers):
        crowding[layers == layer] = crowding_distance(values[layers == layer])
    return [evaluations[i] for i in np.lexsort((-crowding, layers))]


def _violation(evaluation) -> float:
    if evaluation.violation > 0:
        return evaluation.violation
    return np.inf if evaluation.score is None else 0.0
