"""Regularised evolution: tournaments in a population from which the oldest member dies."""

from __future__ import annotations

from collections import deque

from autokit.nas.strategies.proposals import unseen


class RegularizedEvolution:
    """Mutate the winner of a small tournament; the oldest dies, not the worst.

    ::

        population = queue of `population_size` random architectures with their scores
        forever:
            parent = best of `sample_size` members drawn with replacement
            child  = mutate(parent);  evaluate(child)
            push child;  pop the oldest

    Dying of age is the regularisation: an architecture that was lucky once is forgotten unless
    its children are good as well.

    Parameters
    ----------
    space : SearchSpace
    rng : numpy.random.Generator
    population_size : int, default=10
        P of the paper (there 100, for 20,000 trials).
    sample_size : int, default=3
        S of the paper (there 25).

    References
    ----------
    Real, Aggarwal, Huang, Le, "Regularized Evolution for Image Classifier Architecture Search",
    AAAI 2019, algorithm 1. We depart from it where a child was proposed before: mutation is
    repeated up to 50 times for a new one, because an evaluation is dear.
    """

    def __init__(self, space, rng, *, population_size: int = 10, sample_size: int = 3):
        if population_size < 1 or sample_size < 1:
            raise ValueError(
                f"population_size and sample_size must be at least 1; got {population_size} and "
                f"{sample_size}."
            )
        self.space, self.rng = space, rng
        self.population_size, self.sample_size = population_size, sample_size
        self.population: deque = deque(maxlen=population_size)
        self._seen = set()

    def ask(self, n: int) -> list:
        """Propose random architectures until the population is full, then children."""
        missing = self.population_size - len(self.population)
        return [unseen(self._random if i < missing else self._child, self._seen) for i in range(n)]

    def tell(self, evaluations) -> None:
        """Add members; the oldest leave once there are more than `population_size`."""
        for evaluation in evaluations:
            self._seen.add(evaluation.architecture)
            self.population.append(evaluation)

    def _random(self):
        return self.space.sample(self.rng)

    def _child(self):
        picks = self.rng.integers(len(self.population), size=self.sample_size)
        parent = max((self.population[i] for i in picks), key=lambda e: e.key)
        return self.space.mutate(parent.architecture, self.rng)
