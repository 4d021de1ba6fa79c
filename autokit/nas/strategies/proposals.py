"""Proposals without repetition, shared by the strategies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TRIES = 50


def unseen(propose: Callable[[], Any], seen: set, tries: int = TRIES) -> Any:
    """Draw until a proposal is new, and add it to `seen`.

    Parameters
    ----------
    propose : callable
        Draws one proposal.
    seen : set
        What was proposed before.
    tries : int, default=50
        After so many repetitions the last one is returned: the space may be exhausted, which
        the search finds out.
    """
    for _ in range(tries):
        proposal = propose()
        if proposal not in seen:
            break
    seen.add(proposal)
    return proposal


def unseen_near(space, architecture: Any, seen: set, rng) -> Any:
    """Walk by mutations from an architecture until one is new, and add it to `seen`.

    Parameters
    ----------
    space : SearchSpace
    architecture : hashable
        Where the walk begins.
    seen : set
    rng : numpy.random.Generator
    """

    def step():
        nonlocal architecture
        architecture = space.mutate(architecture, rng)
        return architecture

    return unseen(step, seen)
