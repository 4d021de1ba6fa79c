"""Local search: walk to a better neighbour, start anew from a local optimum."""

from __future__ import annotations

from autokit.nas.strategies.proposals import unseen


class LocalSearch:
    """Climb: evaluate neighbours in random order and move to the first that is better.

    ::

        v = random architecture (or the best of those told so far)
        forever:
            u = a neighbour of v that was not evaluated;  evaluate(u)
            if u is better than v:  v = u
            if v has no such neighbour left:  v = random architecture

    Parameters
    ----------
    space : SearchSpace
        Its ``mutate`` defines the neighbourhood.
    rng : numpy.random.Generator
    max_neighbors : int or None, default=None
        Neighbours that may be worse before `v` counts as a local optimum; None is all of them
        (none found new in 50 mutations).

    References
    ----------
    White, Nolen, Savani, "Local Search is State of the Art for Neural Architecture Search
    Benchmarks", 2020, algorithm 1. We depart from it by moving to the first better neighbour
    instead of evaluating them all first, which needs fewer evaluations.
    """

    def __init__(self, space, rng, *, max_neighbors: int | None = None):
        if max_neighbors is not None and max_neighbors < 1:
            raise ValueError(f"max_neighbors must be at least 1 or None; got {max_neighbors}.")
        self.space, self.rng, self.max_neighbors = space, rng, max_neighbors
        self.current = None
        self._starts = set()
        self._restarting = True
        self._worse = 0
        self._seen = set()

    def ask(self, n: int) -> list:
        """Propose neighbours of the current architecture, or a new start."""
        return [self._propose() for _ in range(n)]

    def tell(self, evaluations) -> None:
        """Move to a new start, or where it is better."""
        for evaluation in evaluations:
            self._seen.add(evaluation.architecture)
            is_start = evaluation.architecture in self._starts and self._restarting
            if self.current is None or is_start or evaluation.key > self.current.key:
                self.current, self._restarting, self._worse = evaluation, False, 0
            else:
                self._worse += 1

    def _propose(self):
        if not self._restarting and not self._is_spent():
            known = len(self._seen)
            neighbor = unseen(self._neighbor, self._seen)
            if len(self._seen) > known:
                return neighbor
        self._restarting = True
        start = unseen(lambda: self.space.sample(self.rng), self._seen)
        self._starts.add(start)
        return start

    def _neighbor(self):
        return self.space.mutate(self.current.architecture, self.rng)

    def _is_spent(self):
        return self.max_neighbors is not None and self._worse >= self.max_neighbors
