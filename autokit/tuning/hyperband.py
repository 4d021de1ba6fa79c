"""Hyperband's epochs: what it sets, and training that goes on where a lower rung ended."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

from autokit.training.watching import Checkpoint
from autokit.tuning.dimensions import Int
from autokit.tuning.space import Entry, Space

EPOCHS = "epochs"  # the entry's name
RUNG_BYTES = 2**28


def sets_epochs(tuner: Any) -> bool:
    """Whether a tuner decides how long each trial trains: keras-tuner's Hyperband."""
    kinds = {kind.__name__ for kind in type(tuner).__mro__}
    return tuner == "hyperband" if isinstance(tuner, str) else "HyperbandOracle" in kinds


def with_epochs(space: Space, network: Any, prefix: str, tuner: Any) -> Space:
    """The space, and the epochs that Hyperband sets.

    Parameters
    ----------
    space : Space
    network : KerasEstimator or None
        The estimator that trains in epochs.
    prefix : str
        Of its parameters, ``step__`` inside a pipeline.
    tuner : "hyperband" or keras_tuner.oracles.HyperbandOracle

    Raises
    ------
    ValueError
        Nothing counts epochs, or they are searched.
    """
    if network is None:
        raise ValueError(
            "tuner='hyperband' gives trials more and more epochs, and the estimator counts none; "
            "choose 'random', 'bayesian', 'grid', 'tpe', 'gp' or 'cmaes', or search a "
            "KerasClassifier or KerasRegressor."
        )
    parameter = f"{prefix}epochs"
    if any(entry.parameter == parameter or entry.name == EPOCHS for entry in space):
        raise ValueError(
            f"tuner='hyperband' sets {parameter!r} itself, up to the estimator's own; leave it out "
            "of 'space'."
        )
    most = network.epochs if isinstance(tuner, str) else tuner.max_epochs
    return Space((*space, Entry(EPOCHS, parameter, Int(1, int(most)))))


class Rungs:
    """Where trainings ended that a higher rung may go on with, in memory.

    A trial with the same values as an earlier one, but for more epochs, trains only those that
    are new, and is the same as trained from scratch: weights, optimizer, generators and the order
    of rows go on. What was dropped, or was trained in another process, is trained from scratch.

    Parameters
    ----------
    capacity_bytes : int, default=2**28
        The states that were used longest ago are dropped beyond it.
    """

    def __init__(self, capacity_bytes: int = RUNG_BYTES):
        self._capacity_bytes = capacity_bytes
        self._kept: OrderedDict[Hashable, Checkpoint] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, values: Mapping[str, Any], fold: int) -> Checkpoint | None:
        """Where the training with these values on a fold has ended, whatever its epochs."""
        with self._lock:
            key = _key(values, fold)
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, values: Mapping[str, Any], fold: int, checkpoint: Checkpoint) -> None:
        """Keep where a training has ended."""
        with self._lock:
            key = _key(values, fold)
            self._kept.pop(key, None)
            self._kept[key] = checkpoint
            while sum(c.size_bytes for c in self._kept.values()) > self._capacity_bytes:
                self._kept.popitem(last=False)


def _key(values: Mapping[str, Any], fold: int) -> Hashable:
    return fold, frozenset((name, value) for name, value in values.items() if name != EPOCHS)
