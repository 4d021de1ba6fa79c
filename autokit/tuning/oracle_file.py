"""The state of a keras-tuner oracle beside the storage of a search, shared by its processes.

What the oracle has proposed is written here before a trial begins; how trials ended is read from
the storage, which alone says what is finished. A trial of a process that died is proposed anew.
"""

from __future__ import annotations

import collections
import copy
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autokit.persistence.journal import locked
from autokit.persistence.studies import card_of_process, is_at_work


class OracleFile:
    """The shared state of one oracle.

    Parameters
    ----------
    storage : path
        Of the search; the state lies beside it, as ``NAME.oracle.json``.
    search : list of JSON value
        What must agree: a state of another search is left alone and written over.
    """

    def __init__(self, storage, search: list):
        self._storage = Path(storage)
        self.path = self._storage.with_name(self._storage.name + ".oracle.json")
        self._search = hashlib.sha256(json.dumps(search).encode()).hexdigest()
        self._version: str | None = None
        self._name = uuid.uuid4().hex
        self._owners: dict[str, str] = {}
        self._cards: dict[str, dict] = {}

    @contextmanager
    def held(self, oracle: Any, has_results: bool) -> Iterator[None]:
        """Keep other processes out while `oracle` has, and goes on from, what they have done.

        Parameters
        ----------
        oracle : keras_tuner.Oracle
        has_results : bool
            Whether the storage holds trials. A state beside an empty one, of which no process is
            at work, was left behind by a storage that is gone.
        """
        with locked(self._storage):
            self._read(oracle, has_results)
            yield

    def own(self, trial_id: str) -> None:
        """Note that a trial is at work in this process."""
        self._owners[trial_id] = self._name

    def dead(self) -> list[str]:
        """Trials that began in processes that are gone."""
        owners = self._owners.items()
        return [trial for trial, owner in owners if not self._lives(owner, self._cards)]

    def write(self, oracle: Any) -> None:
        """Replace the state on disk by that of `oracle`; call it while it is held."""
        running = {i for i, trial in oracle.trials.items() if trial.status == "RUNNING"}
        self._owners = {i: owner for i, owner in self._owners.items() if i in running}
        self._cards[self._name] = card_of_process() | {"told": time.time()}
        names = {*self._owners.values(), self._name}
        self._version = uuid.uuid4().hex
        state = {
            "search": self._search,
            "version": self._version,
            "owners": self._owners,
            "cards": {name: card for name, card in self._cards.items() if name in names},
            "oracle": state_of(oracle),
        }
        part = self.path.with_name(self.path.name + ".part")
        with part.open("w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, self.path)

    def _read(self, oracle: Any, has_results: bool) -> None:
        try:
            state = json.loads(self.path.read_text())
        except FileNotFoundError:
            return
        except ValueError as error:
            raise ValueError(
                f"{str(self.path)!r} is not the state of an oracle; move it away, or choose "
                "another 'storage'."
            ) from error
        if state["search"] != self._search or state["version"] == self._version:
            return
        owners, cards = state["owners"], state["cards"]
        if not has_results and not any(self._lives(owner, cards) for owner in owners.values()):
            return
        self._version, self._owners, self._cards = state["version"], owners, cards
        restore(oracle, state["oracle"])

    def _lives(self, owner: str, cards: dict[str, dict]) -> bool:
        return owner == self._name or is_at_work(cards.get(owner, {"ended": True}))


def state_of(oracle: Any) -> dict[str, Any]:
    """All that an oracle knows, as JSON values."""
    trials = {}
    for trial_id, trial in oracle.trials.items():
        trials[trial_id] = trial.get_state() | {"hyperparameters": trial.hyperparameters.values}
    state = {"trials": trials, "own": oracle.get_state()}
    # what keras-tuner's own files leave out, and starts anew
    if hasattr(oracle, "_ordered_ids"):
        ids = oracle._ordered_ids
        state["grid"] = {
            "memory": ids._memory,
            "next": list(ids._next_index.items()),
            "last": ids._last_index,
            "queue": oracle._populate_next,
        }
    if hasattr(oracle, "_random_state"):
        kind, keys, *rest = oracle._random_state.get_state()
        state["random"] = [kind, keys.tolist(), *rest]
    return state


def restore(oracle: Any, state: dict[str, Any]) -> None:
    """Put an oracle where `state_of` found another one."""
    from keras_tuner.src.engine import hyperparameters
    from keras_tuner.src.engine.trial import Trial

    # from_config writes into what it is given
    config = copy.deepcopy(state["own"]["hyperparameters"])
    space = hyperparameters.HyperParameters.from_config(config)
    oracle.trials = {}
    for trial_id, given in state["trials"].items():
        own = space.get_config() | {"values": given["hyperparameters"]}
        oracle.trials[trial_id] = Trial.from_state(given | {"hyperparameters": own})
    gpr = getattr(oracle, "gpr", None)
    oracle.set_state(state["own"])
    if gpr is not None:
        gpr.random_state = oracle.seed
        oracle.gpr = gpr  # set_state puts one in its place that was not fitted
    if "grid" in state:
        grid, ids = state["grid"], oracle._ordered_ids
        ids._memory, ids._last_index = grid["memory"], grid["last"]
        ids._next_index = collections.defaultdict(lambda: None, map(tuple, grid["next"]))
        ids._data_to_index = {trial: i for i, trial in enumerate(grid["memory"])}
        oracle._populate_next = grid["queue"]
    if "random" in state:
        oracle._random_state.set_state(tuple(state["random"]))
