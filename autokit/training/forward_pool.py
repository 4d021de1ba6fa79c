"""Compiled forwards that networks of one architecture share."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from autokit._backend import keras
from autokit.training.forward import Forward
from autokit.training.programs import architecture_key
from autokit.training.state import assign, values_of


class ForwardPool:
    """Compiled forwards that networks of one architecture share: for many short-lived networks.

    Parameters
    ----------
    capacity : int, default=32
        Architectures kept; the least recently used goes first.
    """

    def __init__(self, capacity: int = 32):
        self._capacity = capacity
        self._slots: OrderedDict = OrderedDict()
        self._lock = threading.Lock()

    def share(self, model: keras.Model, finish=None, tag: str = ""):
        """What answers for `model` as `Forward` does; its weights are read anew at each call.

        Parameters
        ----------
        model : keras.Model
        finish : callable or None
            Must do the same for all models of one architecture and one `tag`.
        tag : str
        """
        key = architecture_key(model)
        if key is None:
            return Forward(model, finish)
        with self._lock:
            slot = self._slots.pop((key, tag), None)
            if slot is None:
                copy = model.__class__.from_config(model.get_config())
                slot = Forward(copy, finish), threading.Lock()
            self._slots[key, tag] = slot
            while len(self._slots) > self._capacity:
                self._slots.popitem(last=False)
        return _Shared(model, *slot)


class _Shared:
    def __init__(self, model, forward, lock):
        self.model, self._forward, self._lock = model, forward, lock

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        with self._lock:
            assign(self._forward.model.variables, values_of(self.model.variables))
            return self._forward(rows)
