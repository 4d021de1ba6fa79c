"""Networks that one fold after the other starts from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np

from autokit._backend import keras
from autokit.training.state import assign, values_of

KEPT = 16


class Networks:
    """Networks whose fold is over, for the next fold that would build the same.

    Building a small network takes as long as training it. A fold's network is of no use after its
    score; with its first weights back it is what the next fold of the same seed would build.
    """

    def __init__(self):
        self._idle: OrderedDict[Hashable, list[tuple]] = OrderedDict()
        self._first: dict[int, list[np.ndarray]] = {}
        self._lock = threading.Lock()

    def borrow(self, key: Hashable, build: Callable[[], tuple]) -> tuple[keras.Model, Any]:
        """A network and its settings, built if none is idle; see `training.Watch.network`."""
        with self._lock:
            idle = self._idle.get(key)
            found = idle.pop() if idle else None
        if found is None:
            found = build()
            self._first[id(found[0])] = values_of(found[0].variables)
        else:
            assign(found[0].variables, self._first[id(found[0])])
        return found

    def give_back(self, key: Hashable, network: keras.Model, settings: Any) -> None:
        """Nobody needs the network any more."""
        with self._lock:
            self._idle.setdefault(key, []).append((network, settings))
            self._idle.move_to_end(key)
            while sum(map(len, self._idle.values())) > KEPT:
                oldest, idle = next(iter(self._idle.items()))
                if idle:
                    del self._first[id(idle.pop(0)[0])]
                if not idle:
                    del self._idle[oldest]
