"""Random search: the baseline every strategy must beat."""

from __future__ import annotations

from autokit.nas.strategies.proposals import unseen


class RandomSearch:
    """Sample the space, without repetition where that is possible.

    Parameters
    ----------
    space : SearchSpace
    rng : numpy.random.Generator
    """

    def __init__(self, space, rng):
        self.space, self.rng = space, rng
        self._seen = set()

    def ask(self, n: int) -> list:
        """Sample `n` architectures."""
        return [unseen(lambda: self.space.sample(self.rng), self._seen) for _ in range(n)]

    def tell(self, evaluations) -> None:
        """Remember what need not be proposed again."""
        self._seen.update(e.architecture for e in evaluations)
