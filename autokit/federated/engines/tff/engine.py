"""Rounds in TensorFlow Federated."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from autokit.federated.engines.tff import environment
from autokit.federated.engines.tff.description import (
    aggregator_spec,
    algorithm_spec,
    update_bytes,
)
from autokit.federated.engines.tff.process import EngineDied, RefusedThere, Worker
from autokit.federated.engines.tff.rows import StoredRows, Unreadable
from autokit.federated.engines.tff.transport import Transport
from autokit.federated.protocols import UNREADABLE, Federation, RoundReport, ServerState
from autokit.federated.schedule import batches

_TRIES = 2
NOT_FINITE = "its update is not finite"


class TFFEngine(BaseEstimator):
    """Rounds in TensorFlow Federated 0.87, in a process and an environment of its own.

    The network travels as functions of its weights; clients' rows, as files in a temporary folder.
    Averaging, SGD with momentum and Adam on the server, clipping, zeroing, quantisation and
    Gaussian noise are TFF's own; rules that it lacks, or has otherwise, are given to it (Nesterov
    momentum, FedAdam, FedYogi, FedAdagrad, and FedProx, whose term has the wrong sign there). What
    it cannot do is refused. TFF's noise is drawn from the system's randomness, so that private
    training is not repeatable, and `ServerState.privacy` does not tell its clipping norm.

    A worker that dies is started again, and the round with it, once.

    Parameters
    ----------
    environment : path-like or None, default=None
        Of a virtual environment with TensorFlow Federated. None is what ``autokit tff install``
        made, or what the environment variable ``AUTOKIT_TFF_ENV`` names.
    clipping : bool, default=False
        Clip updates to a norm that follows their 0.8 quantile, as TFF's ``robust_aggregator``.
    zeroing : bool or float, default=False
        Leave out updates of which a number is larger than this; True is a norm that follows the
        0.98 quantile, as TFF's ``robust_aggregator``.

    Notes
    -----
    TFF's executor listens on a port of this machine that asks for no password: whoever has an
    account on it could use it while rounds run.
    """

    _parameter_constraints: ClassVar[dict] = {
        "environment": [None, str, os.PathLike],
        "clipping": ["boolean"],
        "zeroing": ["boolean", Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, environment=None, clipping=False, zeroing=False):
        self.environment = environment
        self.clipping = clipping
        self.zeroing = zeroing

    def check(self, federation: Federation) -> None:
        """Refuse what TensorFlow Federated cannot do.

        Raises
        ------
        ValueError
            Names the argument, and the engine that can.
        """
        self._validate_params()
        self.describe(federation)

    def describe(self, federation: Federation) -> dict[str, Any]:
        """What TensorFlow Federated is told, but for the network."""
        aggregator = aggregator_spec(federation, clipping=self.clipping, zeroing=self.zeroing)
        return {**algorithm_spec(federation), "aggregator": aggregator}

    @contextmanager
    def open(self, federation: Federation, state: ServerState) -> Iterator[TFFRun]:
        """Begin, or go on from a state. Leaving ends the process and removes the files.

        Raises
        ------
        NotInstalled
            There is no environment, and nobody who could be asked whether to install it.
        EngineDied
            TensorFlow Federated does not start there.
        """
        self.check(federation)
        python = environment.required(self.environment)
        with tempfile.TemporaryDirectory(prefix="autokit-tff-") as folder:
            run = TFFRun(self, federation, state, python, Path(folder))
            try:
                yield run
            finally:
                run.close()


class TFFRun:
    """Rounds of one federation in TensorFlow Federated.

    Parameters
    ----------
    engine : TFFEngine
    federation : Federation
    state : ServerState
    python : path-like
        Of the environment.
    folder : pathlib.Path
        For files; empty.

    Attributes
    ----------
    state : ServerState
        As of the last finished round.
    """

    def __init__(
        self, engine: TFFEngine, federation: Federation, state: ServerState, python, folder: Path
    ) -> None:
        self.state = state
        self._federation, self._python, self._folder = federation, python, folder
        self._spec = engine.describe(federation)
        self._rows = StoredRows(federation.clients, folder)
        self._transport: Transport | None = None
        self._is_open = False
        self._cpu_of_dead = 0.0
        self._worker: Worker | None = Worker(python)

    def round(self, chosen: np.ndarray) -> RoundReport:
        """Run one round with the clients of these numbers.

        Raises
        ------
        EngineDied
            The process ended twice in this round; the state is that of the last finished round.
        OSError
            There is no space for the rows of a client.
        """
        federation, state = self._federation, self.state
        clients, dropped = [], {}
        for client in map(int, chosen):
            try:
                data = self._rows.stored(client)
            except Unreadable as error:
                dropped[client] = f"{UNREADABLE}: {error}"
                continue
            clients.append(client)
            self._prepare(data)
        after, results = replace(state, round=state.round + 1), None
        if clients or federation.privacy is not None:  # noise tells that nobody was there
            if self._transport is None:
                self._prepare(self._rows.stored(0))
            results = self._trained(clients)
            after = self._after(results)
        self.state = after
        return self._report(clients, dropped, len(chosen), results)

    def cpu_seconds(self) -> float:
        """CPU time that TensorFlow Federated has taken, its start included."""
        running = 0.0 if self._worker is None else self._worker.cpu_seconds()
        return self._cpu_of_dead + running

    @property
    def versions(self) -> dict[str, str]:
        """Of what the worker has loaded."""
        return {} if self._worker is None else dict(self._worker.versions)

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, which is that of its group; None while none runs."""
        return None if self._worker is None else self._worker.pid

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.close()
            self._cpu_of_dead += self._worker.cpu_seconds()
            self._worker = None

    def _prepare(self, data) -> None:
        """Make the network travel, once the first rows have been seen."""
        weighted = data is not None and data.weight is not None
        if self._transport is not None and (not weighted or "weights" in self._spec):
            return
        federation = self._federation
        transport = Transport(federation.model, federation.loss, federation.layout, data)
        module = self._folder / ("weighted" if weighted else "network")
        transport.save(module)
        self._transport, self._is_open = transport, False
        layout = federation.layout
        self._spec |= {
            "module": os.fspath(module),
            "shapes": layout.shapes,
            "n_trainable": layout.n_trainable,
            "n_generators": transport.n_generators,
            **self._rows.kinds(weighted=weighted),
        }

    def _trained(self, clients: list[int]) -> dict[str, np.ndarray]:
        arrays = self._request(clients)
        paths = [os.fspath(self._rows.path(client)) for client in clients]
        number = self.state.round
        for attempt in range(_TRIES):
            try:
                if self._worker is None:
                    self._worker, self._is_open = Worker(self._python), False
                if not self._is_open:
                    self._open()
                return self._worker.ask("round", arrays, clients=paths)[1]
            except EngineDied as error:
                self.close()
                if attempt + 1 == _TRIES:
                    raise EngineDied(
                        f"round {number + 1}: {error}\nIt was started again once; rounds before "
                        "this one are kept."
                    ) from error
            except RefusedThere as error:
                raise RuntimeError(
                    f"TensorFlow Federated failed in round {number + 1} ({error}); rounds before "
                    "it are kept. If its operations are new to TensorFlow 2.14, use "
                    "engine='embedded'."
                ) from error
            except BaseException:
                self.close()  # its answer may still come, and would be taken for another
                raise
        raise AssertionError

    def _open(self) -> None:
        try:
            self._worker.ask("open", spec=self._spec)
        except RefusedThere as error:
            raise ValueError(
                f"engine='tff' cannot take this network into TensorFlow Federated ({error}); use "
                "engine='embedded'."
            ) from error
        self._is_open = True

    def _request(self, clients: list[int]) -> dict[str, np.ndarray]:
        federation, state = self._federation, self.state
        whole = federation.algorithm.whole_batch
        order, seeds, last = [], [], []
        for client in clients:
            n_rows = self._rows.n_rows(client)
            steps = batches(
                federation.local_seed,
                state.round,
                client,
                n_rows,
                local_epochs=1 if whole else federation.local_epochs,
                batch_size=n_rows if whole else federation.batch_size,
            )
            order += steps
            seed = federation.local_seed
            seeds.append(self._transport.seeds(seed, state.round, client, len(steps)))
            last.append(len(steps))
        kind = self._aggregator
        return {
            "weights": state.weights,
            "order": np.concatenate([*order, np.zeros(0, np.int32)]).astype(np.int32),
            "ends": np.cumsum([len(step) for step in order]).astype(np.int32),
            "last": np.cumsum(last).astype(np.int32),
            "seeds": np.concatenate([*seeds, self._transport.seeds(0, 0, 0, 0)]),
            **{f"rule.{i}": part for i, part in enumerate(state.rule)},
            **{
                f"aggregator.{name.rpartition('.')[2]}": part
                for name, part in state.engine.items()
                if name.startswith(f"{kind}.")
            },
        }

    @property
    def _aggregator(self) -> str:
        """What a state is of: another norm or another noise has another."""
        return json.dumps(self._spec["aggregator"], sort_keys=True)

    def _after(self, results: dict[str, np.ndarray]) -> ServerState:
        kind = self._aggregator
        rule = [name for name in results if name.startswith("rule.")]
        weights, structure = results["weights"], self._federation.structure
        return replace(
            self.state,
            weights=weights if structure is None else structure(weights),
            round=self.state.round + 1,
            rule=[results[f"rule.{i}"] for i in range(len(rule))],
            engine={
                f"{kind}.{name.removeprefix('aggregator.')}": part
                for name, part in results.items()
                if name.startswith("aggregator.")
            },
        )

    def _report(self, clients, dropped, n_asked, results) -> RoundReport:
        federation = self._federation
        took_part: list[int] = []
        loss = score = float("nan")
        if results is not None:
            took_part = sorted(clients[position] for position in results["positions"])
            met = results["met"].sum()
            if met:
                loss = float(results["losses"].sum() / met)
                score = float(results["hits"].sum() / met)
        dropped |= {client: NOT_FINITE for client in set(clients) - set(took_part)}
        return RoundReport(
            loss=loss,
            score=score,
            clients=took_part,
            dropped=dropped,
            bytes_down=n_asked * 4 * federation.layout.size,
            bytes_up=len(clients) * update_bytes(federation, self._spec["aggregator"]),
        )
