"""Looking on while estimators train, however deep in a pipeline they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from autokit._backend import keras


class Watch:
    """What looks on at every `fit` of this package inside a ``with watched_by(watch)`` block.

    Attributes
    ----------
    deadline : float or None
        ``time.monotonic()`` second after which training stops with the weights it has.
    """

    deadline: float | None = None

    def epoch(self, model: keras.Model, training: keras.Model, epoch: int, logs: dict) -> None:
        """An epoch has ended.

        Parameters
        ----------
        model : keras.Model
            The model that is being fitted; its weights are still the old ones.
        training : keras.Model
            The copy that holds the weights so far. Read it only, and only now.
        epoch : int
            Counted from 1.
        logs : dict of str to float
            Loss, accuracy, val_loss, val_accuracy as far as they apply.

        Raises
        ------
        BaseException
            Whatever ends the training at once; the model keeps its old weights.
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
