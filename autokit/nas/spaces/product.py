"""Spaces that are a product of independent decisions."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from autokit.nas.spaces.dimensions import Dimension


class ProductSpace:
    """A space whose architectures are dataclasses of independent decisions.

    A subclass gives `dimensions` (one per field of `architecture_type`, in order) and ``build``.
    """

    architecture_type: type
    reference: Any = None
    """The architecture a search starts from, where the space holds it."""

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """What may be decided, by the name of the architecture's field."""
        raise NotImplementedError(f"{type(self).__name__} must define dimensions")

    @property
    def default(self) -> Any:
        """The architecture a search starts from: the space's closest to `reference`."""
        if self.reference is None:
            return None
        return self.architecture_type(
            **{n: d.nearest(getattr(self.reference, n)) for n, d in self.dimensions.items()}
        )

    @property
    def smallest(self) -> Any:
        """What a search of a few seconds starts from: every decision's first value."""
        return self.architecture_type(**{n: d.smallest for n, d in self.dimensions.items()})

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw every decision independently."""
        return self.architecture_type(**{n: d.sample(rng) for n, d in self.dimensions.items()})

    def mutate(self, architecture: Any, rng: np.random.Generator) -> Any:
        """Change one decision."""
        free = [(n, d) for n, d in self.dimensions.items() if d.n_codes > 1]
        if not free:
            return architecture
        name, dimension = free[rng.integers(len(free))]
        value = dimension.mutate(getattr(architecture, name), rng)
        return dataclasses.replace(architecture, **{name: value})

    def crossover(self, a: Any, b: Any, rng: np.random.Generator) -> Any:
        """Take each decision from either parent."""
        names = list(self.dimensions)
        picks = rng.integers(2, size=len(names))
        values = {n: getattr((a, b)[p], n) for n, p in zip(names, picks, strict=True)}
        return self.architecture_type(**values)

    def encode(self, architecture: Any) -> np.ndarray:
        """One-hot codes of all decisions, one after another."""
        codes = [d.encode(getattr(architecture, n)) for n, d in self.dimensions.items()]
        return np.concatenate(codes)
