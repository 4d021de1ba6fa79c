"""Reproducible Keras objects without touching anybody's global seed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give reproducible seeds to the Keras objects made inside the ``with`` block.

    Keras draws the seed of every initialiser and dropout layer that has none from Python's
    ``random``. Inside the block that generator starts from `seed`; afterwards it continues as if
    nothing had happened. Blocks of several threads follow one another.

    Parameters
    ----------
    seed : int
        Any integer.

    Examples
    --------
    >>> import keras
    >>> from autokit.training import seeded
    >>> with seeded(3):
    ...     a = keras.initializers.GlorotUniform()((2, 2))
    >>> with seeded(3):
    ...     b = keras.initializers.GlorotUniform()((2, 2))
    >>> bool((a == b).numpy().all())
    True
    """
    with _lock:
        before = random.getstate()
        random.seed(int(seed))
        try:
            yield
        finally:
            random.setstate(before)
