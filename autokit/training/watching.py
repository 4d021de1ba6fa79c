"""Looking on while estimators train, however deep in a pipeline they are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autokit._backend import keras

if TYPE_CHECKING:
    from autokit.training.program import Program


@dataclass(frozen=True)
class Checkpoint:
    """Where a training stood after an epoch: all that the next epochs depend on.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    weights, optimizer_state : list of np.ndarray
    rng : dict
        State of the generator that orders the rows.
    history : dict of list of float
    """

    epoch: int
    weights: list[np.ndarray]
    optimizer_state: list[np.ndarray]
    rng: dict[str, Any]
    history: dict[str, list[float]]

    @property
    def size_bytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in (*self.weights, *self.optimizer_state))


class Watch:
    """What looks on at every `fit` of this package inside a ``with watched_by(watch)`` block.

    Attributes
    ----------
    deadline : float or None
        ``time.monotonic()`` second after which training stops with the weights it has.
    """

    deadline: float | None = None

    def epoch(self, model: keras.Model, training: Program, epoch: int, logs: dict) -> None:
        """An epoch has ended.

        Parameters
        ----------
        model : keras.Model
            The model that is being fitted; its weights are still the old ones.
        training : Program
            What trains: its `model` holds the weights so far, its `forward` predicts with them.
            Read it only, and only now.
        epoch : int
            Counted from 1.
        logs : dict of str to float
            Loss, accuracy, val_loss, val_accuracy as far as they apply.

        Raises
        ------
        BaseException
            Whatever ends the training at once; the model keeps its old weights.
        """

    def network(self, key: Hashable, build: Callable[[], tuple]) -> tuple:
        """The network that a fit starts from, and the settings that it was compiled with.

        Parameters
        ----------
        key : hashable
            The same for fits whose `build` gives the same, weights included.
        build : callable
            ``() -> (keras.Model, dict)``

        Returns
        -------
        tuple of (keras.Model, dict)
            Of `build`, or of an earlier one with its first weights, if nobody needs that any more.
        """
        return build()

    def resume(self, model: keras.Model, epochs: int) -> Checkpoint | None:
        """Where a training of so many epochs may go on from; None to train from scratch.

        Asked once in a training whose epochs depend on nothing but those before: without
        callbacks, early stopping or a schedule over all epochs.

        Parameters
        ----------
        model : keras.Model
            That is going to be fitted.
        epochs : int
        """
        return None

    def keep(self, model: keras.Model, checkpoint: Callable[[], Checkpoint]) -> None:
        """A training for which `resume` was asked has run all its epochs.

        Parameters
        ----------
        model : keras.Model
        checkpoint : callable
            Copies where it ended, if called now.
        """


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched_by(watch: Watch) -> Iterator[Watch]:
    """Let `watch` look on at the trainings of this thread inside the block."""
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)


def current_watch() -> Watch | None:
    """Who looks on at this thread's trainings."""
    return _watch.get()
