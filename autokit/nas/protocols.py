"""The seams of architecture search: what a space, a strategy and an evaluator must be able to do.

An *architecture* is a small immutable, hashable value: a frozen dataclass or a NamedTuple of
strings, numbers, booleans, None and (nested) tuples of them. Everything that depends on its shape
belongs to its space; strategies and the search loop pass it on unopened.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    import keras

Architecture = Hashable
Status = Literal["complete", "pruned", "failed", "timeout", "infeasible"]


@dataclass(frozen=True)
class Budget:
    """What one evaluation may spend.

    Parameters
    ----------
    epochs : int
        Passes over the training rows of a full evaluation.
    deadline : float or None, default=None
        ``time.monotonic()`` second at which the evaluation must be over.
    keep_on : callable or None, default=None
        The rung rule, ``keep_on(epochs_done, score) -> bool``; False ends the trial as "pruned".
    seed : int, default=0
        Seeds everything random in this evaluation.
    """

    epochs: int
    deadline: float | None = None
    keep_on: Callable[[int, float], bool] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What is known of one architecture after its trial.

    Parameters
    ----------
    number : int
        Of the trial, counted from 0.
    architecture : hashable
        What was evaluated.
    score : float or None
        Higher is better; None if the trial failed.
    loss : float or None
        Validation loss, lower is better; decides between equal scores.
    status : {"complete", "pruned", "failed", "timeout", "infeasible"}
        "pruned": stopped by the rung rule. "timeout": stopped by the deadline, with the score it
        had reached. "infeasible": beyond a constraint, and therefore not trained.
    epochs : int
        Epochs begun.
    seconds : float
        Wall time of the trial.
    n_params : int
        Weights of the model, 0 if it was never built.
    rungs : tuple of (int, float)
        Score after each number of epochs.
    error : str or None
        First line of what made the trial fail.
    setup_seconds : float
        The part of `seconds` that was not training: building and tracing.
    flops : int or None
        Floating-point operations of one row, see `autokit.nas.hardware.count_flops`.
    memory_bytes : int or None
        Peak of the activations of one row.
    size_bytes : int or None
        Of the .tflite file, where it was made.
    latency_ms : float or None
        Of one row, measured or predicted, where it was asked for.
    violation : float
        Sum of the relative excesses over the constraints, ``sum(max(0, cost / limit - 1))``.
    values : tuple of float
        The objectives of a search with several, each turned so that higher is better.
    seed : int
        What everything random in the trial was seeded with.
    """

    number: int
    architecture: Any
    score: float | None
    loss: float | None
    status: Status
    epochs: int = 0
    seconds: float = 0.0
    n_params: int = 0
    rungs: tuple[tuple[int, float], ...] = ()
    error: str | None = None
    setup_seconds: float = 0.0
    flops: int | None = None
    memory_bytes: int | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None
    violation: float = 0.0
    values: tuple[float, ...] = ()
    seed: int = 0

    @property
    def key(self) -> tuple[float, float]:
        """What evaluations are ranked by: the score, ties by the loss.

        Whatever violates a constraint comes after all that do not, the nearer miss first; a
        failure is last (the rule of Deb 2000).
        """
        if self.violation > 0:
            return (-np.inf, -self.violation)
        if self.score is None:
            return (-np.inf, -np.inf)
        return (self.score, -self.loss if self.loss is not None else -np.inf)

    @property
    def rank(self) -> tuple[bool, float, float]:
        """What the best of a search is chosen by: the key, but a finished trial comes first.

        A rung ended it because others did better with the same epochs; that its last score is
        ahead of a finished one's by a hair says less.
        """
        may_win = self.status in ("complete", "timeout") and self.violation == 0
        return (may_win, *self.key)


class SearchSpace(Protocol):
    """A set of architectures.

    A space may have the attributes ``default``, the architecture a search starts from, and
    ``smallest``, what it starts from if it has a few seconds only, and the methods
    ``check_input(input_shape)``, which raises ValueError for rows that it cannot take, and
    ``simplified(architecture)``, which returns the architecture without the parts that its output
    does not depend on.
    """

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw an architecture at random."""

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a neighbour: an architecture of the space that differs by one small change."""

    def crossover(self, a: Architecture, b: Architecture, rng: np.random.Generator) -> Architecture:
        """Mix two architectures into one of the space."""

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Return the architecture as a float vector whose length is the same for all."""

    def build(
        self,
        architecture: Architecture,
        input_shape: tuple[int, ...],
        n_outputs: int,
        output_activation: str,
    ) -> keras.Model:
        """Return the untrained Keras model, from ``(batch, *input_shape)`` to outputs."""


class SearchStrategy(Protocol):
    """What to evaluate next. Made by ``Strategy(space, rng, **options)``.

    The search may tell evaluations that were never asked for (a start, a warm start), and tells
    what it knows already for an architecture that is proposed again.
    """

    def ask(self, n: int) -> list[Architecture]:
        """Propose `n` architectures."""

    def tell(self, evaluations: Sequence[Evaluation]) -> None:
        """Take note of finished evaluations, in the order of their numbers."""


class Evaluator(Protocol):
    """How good is an architecture?

    The returned number does not matter: the search sets it. A raised exception makes the trial a
    failed one.
    """

    def __call__(self, architecture: Architecture, budget: Budget) -> Evaluation:
        """Evaluate one architecture within the budget."""
