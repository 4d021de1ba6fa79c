"""A space without its architectures that are beyond the limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autokit.nas.hardware.constraints import Infeasible

TRIES = 100
STEPS = 500
PATIENCE = 60


class FeasibleSpace:
    """The architectures of a space whose violation is zero.

    A search space of its own, so that no strategy need know of limits. Draws of the wrapped space
    are repeated until one is feasible. Where limits are so tight that none of 100 draws is, the
    nearest miss walks down by mutations that do not increase its violation.

    Parameters
    ----------
    space : SearchSpace
        What is wrapped. Its other attributes (``check_input``, ``describe``, ...) are passed on,
        except ``size``.
    violation : callable
        From an architecture to how far it is beyond the limits, 0 if it is not: cheap, and the
        same every time. Answers are kept.

    Notes
    -----
    If no feasible architecture is found in any way, the nearest is returned: `check_feasible`
    tells before a search.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.nas import MLPSpace
    >>> narrow = FeasibleSpace(MLPSpace(), lambda a: max(0, sum(a.widths) - 64))
    >>> sum(narrow.sample(np.random.default_rng(0)).widths) <= 64
    True
    """

    def __init__(self, space: Any, violation: Callable[[Any], float]):
        self.space = space
        self._violation, self._known = violation, {}
        self._starts: dict[str, Any] = {}

    def violation(self, architecture: Any) -> float:
        """How far an architecture is beyond the limits."""
        if architecture not in self._known:
            self._known[architecture] = float(self._violation(architecture))
        return self._known[architecture]

    def sample(self, rng: np.random.Generator) -> Any:
        """Draw an architecture; uniformly among the feasible if the space draws so among all."""
        return self._first_feasible(lambda: self.space.sample(rng), rng)

    def mutate(self, architecture: Any, rng: np.random.Generator) -> Any:
        """Return a feasible neighbour, or if none is found something feasible further away."""
        tried = [self.space.mutate(architecture, rng)]
        while self.violation(tried[-1]) > 0:
            if len(tried) >= TRIES:
                return self._beyond(architecture, tried, rng)
            tried.append(self.space.mutate(architecture, rng))
        return tried[-1]

    def crossover(self, a: Any, b: Any, rng: np.random.Generator) -> Any:
        """Mix two architectures; the parent nearer to the limits if no feasible mix is found."""
        for _ in range(TRIES):
            child = self.space.crossover(a, b, rng)
            if self.violation(child) == 0 or child == a == b:
                return child
        return min((a, b), key=self.violation)

    def encode(self, architecture: Any) -> np.ndarray:
        """As the wrapped space does."""
        return self.space.encode(architecture)

    def build(self, architecture, input_shape, n_outputs, output_activation):
        """Return the untrained model, as the wrapped space does."""
        return self.space.build(architecture, input_shape, n_outputs, output_activation)

    @property
    def default(self) -> Any:
        """The wrapped space's default, or what is feasible near it; None if there is none."""
        return self._near("default")

    @property
    def smallest(self) -> Any:
        """The wrapped space's smallest, or what is feasible near it; None if there is none."""
        return self._near("smallest")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("space", "size"):
            raise AttributeError(f"FeasibleSpace has no attribute {name!r}")
        return getattr(self.space, name)

    def __repr__(self) -> str:
        return f"FeasibleSpace({self.space!r})"

    def _near(self, name: str) -> Any:
        if name not in self._starts:
            start = getattr(self.space, name, None)
            if start is not None and self.violation(start) > 0:
                start = self.descend(start, np.random.default_rng(0))
                start = None if self.violation(start) > 0 else start
            self._starts[name] = start
        return self._starts[name]

    def _first_feasible(self, draw: Callable[[], Any], rng) -> Any:
        nearest, restart = None, getattr(rng, "restart", lambda: None)
        for _ in range(TRIES):
            restart()  # where a policy decides in the place of chance, see `Draws`
            drawn = draw()
            if self.violation(drawn) == 0:
                return drawn
            if nearest is None or self.violation(drawn) < self.violation(nearest):
                nearest = drawn
        return self._rescued(self.descend(nearest, rng), rng)

    def _beyond(self, architecture, tried, rng) -> Any:
        """Something feasible behind the infeasible neighbours, other than `architecture`."""
        for nearest in sorted(dict.fromkeys(tried), key=self.violation)[:5]:
            found = self.descend(nearest, rng)
            if found != architecture and self.violation(found) == 0:
                return found
        found = self.sample(rng)
        return found if found != architecture else min(tried, key=self.violation)

    def _rescued(self, found, rng) -> Any:
        """A feasible architecture that is known already, if `found` is not feasible."""
        if self.violation(found) == 0:
            return found
        feasible = [a for a, excess in self._known.items() if excess == 0]
        return feasible[rng.integers(len(feasible))] if feasible else found

    def descend(self, architecture: Any, rng: np.random.Generator, steps: int = STEPS) -> Any:
        """Walk by mutations that do not increase the violation.

        Parameters
        ----------
        architecture : hashable
            Where the walk begins.
        rng : numpy.random.Generator
        steps : int, default=500
            Mutations at most; 60 in a row without gain end the walk too.

        Returns
        -------
        hashable
            The first feasible architecture, or the nearest miss.
        """
        current, idle = architecture, 0
        for _ in range(steps):
            if self.violation(current) == 0 or idle >= PATIENCE:
                break
            mutant = self.space.mutate(current, rng)
            gain = self.violation(current) - self.violation(mutant)
            idle = 0 if gain > 0 else idle + 1
            current = mutant if gain >= 0 else current
        return current


def check_feasible(
    space: Any,
    violation: Callable[[Any], float],
    rng: np.random.Generator,
    *,
    explain: Callable[[Any], str] = lambda architecture: "",
    n_samples: int = 50,
    steps: int = 200,
) -> Any:
    """Find an architecture within the limits, or say how near the space comes to them.

    Looks at the space's smallest and default architecture and at random ones, then walks down from
    the nearest by mutations. The search that follows could find no more.

    Parameters
    ----------
    space : SearchSpace
        With or without `FeasibleSpace` around it; a `FeasibleSpace` remembers what was found.
    violation : callable
        From an architecture to how far it is beyond the limits.
    rng : numpy.random.Generator
    explain : callable, optional
        From an architecture to the limits that it exceeds, in words; see
        `HardwareConstraints.explain`.
    n_samples, steps : int, default=50 and 200
        Random architectures, and mutations from each of the two nearest.

    Returns
    -------
    hashable
        A feasible architecture.

    Raises
    ------
    Infeasible
        None was found.
    """
    if not isinstance(space, FeasibleSpace):
        space = FeasibleSpace(space, violation)
    inner, nearest = space.space, []
    starts = [getattr(inner, name, None) for name in ("smallest", "default")]
    for architecture in _chain(starts, (inner.sample(rng) for _ in range(n_samples))):
        if space.violation(architecture) == 0:
            return architecture
        nearest.append(architecture)
    nearest = sorted(dict.fromkeys(nearest), key=space.violation)[:2]
    for start in nearest:
        found = space.descend(start, rng, steps)
        if space.violation(found) == 0:
            return found
        nearest = [*nearest, found]
    best = min(nearest, key=space.violation)
    words = explain(best) or f"violation is {space.violation(best):.3g}"
    raise Infeasible(
        f"constraints cannot be met: of the architectures looked at before the search, the space's "
        f"smallest included, {best} comes nearest, and its {words}; raise the limit, or choose a "
        "space with smaller networks."
    )


def _chain(starts, samples):
    yield from (start for start in starts if start is not None)
    yield from samples
