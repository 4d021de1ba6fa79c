"""Where a meta-training is, on disk: one file, without pickle, replaced after every epoch."""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from autokit._backend import tf
from autokit.persistence.archive import read_archive, write_archive
from autokit.persistence.studies import differences
from autokit.training import FitResult

KIND = "autokit.meta:training"
_STATE = "training.json"


@dataclass(frozen=True)
class Checkpoint:
    """Where a meta-training is.

    Attributes
    ----------
    weights : list of np.ndarray
        Of all variables of the network.
    running : dict
        What the regime's steps change.
    optimizer : list of np.ndarray
        Empty before the first epoch.
    history : dict of list of float
    epoch, n_episodes : int
        Done.
    best_value : float
        The best score on held-out classes, -inf before any.
    best_epoch : int
    best_weights, best_running
        Of that epoch.
    is_over : bool
        Whether patience ran out.
    """

    weights: list
    running: dict
    optimizer: list = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)
    epoch: int = 0
    n_episodes: int = 0
    best_value: float = -math.inf
    best_epoch: int = 0
    best_weights: list = field(default_factory=list)
    best_running: dict = field(default_factory=dict)
    is_over: bool = False

    def after(self, result: FitResult, running, n: int, logs, patience: int | None) -> Checkpoint:
        """The same one epoch of `n` tasks later."""
        history = {name: list(values) for name, values in self.history.items()}
        for name, value in {**logs, "episodes": self.n_episodes + n}.items():
            history.setdefault(name, []).append(value)
        at = replace(
            self,
            weights=result.weights,
            running=running,
            optimizer=result.optimizer_state,
            history=history,
            epoch=self.epoch + 1,
            n_episodes=self.n_episodes + n,
        )
        if patience is None:
            return at
        value = logs["val_accuracy"] if "val_accuracy" in logs else -logs["val_mse"]
        if value > self.best_value:
            best = {"best_weights": result.weights, "best_running": running}
            return replace(at, best_value=value, best_epoch=at.epoch, **best)
        return replace(at, is_over=at.epoch - at.best_epoch >= patience)


_ARRAYS = ("weights", "running", "optimizer", "best_weights", "best_running")


def write_checkpoint(path: Path, identity: dict, at: Checkpoint) -> None:
    """Write where a training is, whole or not at all.

    Raises
    ------
    OSError
        It cannot be written; what was there before stays.
    """
    members = {}
    for name in _ARRAYS:
        for i, part in enumerate(tf.nest.flatten(getattr(at, name))):
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(part), allow_pickle=False)
            members[f"{name}/{i}.npy"] = buffer.getvalue()
    state = {name: value for name, value in at.__dict__.items() if name not in _ARRAYS}
    state["best_value"] = repr(at.best_value)
    members[_STATE] = json.dumps({"identity": identity, "state": state}).encode()
    write_archive(path, {"class": KIND}, members)


def read_checkpoint(path: Path, identity: dict, like: Checkpoint) -> Checkpoint | None:
    """Where a training was; None if there is no file yet.

    Parameters
    ----------
    path : Path
    identity : dict
        What must agree.
    like : Checkpoint
        Of the same structure.

    Raises
    ------
    ValueError
        The file is none of a meta-training, is damaged, or belongs to another one.
    """
    if not path.exists() or path.stat().st_size == 0:
        return None
    try:
        manifest, members = read_archive(path)
    except ValueError as error:
        raise _refused(path, f"is no file of a meta-training ({error})") from error
    if manifest.get("class") != KIND:
        raise _refused(path, f"holds a {manifest.get('class')}, not a meta-training")
    stored = json.loads(members[_STATE])
    wanted = json.loads(json.dumps(identity))
    if stored["identity"] != wanted:
        raise _refused(
            path, f"belongs to another training: {differences(stored['identity'], wanted)}"
        )
    state = stored["state"] | {"best_value": float(stored["state"]["best_value"])}
    return Checkpoint(**state, **{name: _nest(name, members, like) for name in _ARRAYS})


def _nest(name: str, members: dict, like: Checkpoint) -> Any:
    flat = []
    while f"{name}/{len(flat)}.npy" in members:
        flat.append(np.load(io.BytesIO(members[f"{name}/{len(flat)}.npy"]), allow_pickle=False))
    if not name.endswith("running"):
        return flat
    return tf.nest.pack_sequence_as(like.running, flat) if flat else {}


def _refused(path: Path, why: str) -> ValueError:
    return ValueError(
        f"The 'storage' {str(path)!r} {why}; use the same data and parameters, or a new path."
    )
