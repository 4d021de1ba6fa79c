"""One search on several machines, by keras-tuner's chief and workers.

As keras-tuner asks for, each process has ``KERASTUNER_ORACLE_IP`` and ``KERASTUNER_ORACLE_PORT``
(of the chief) and a ``KERASTUNER_TUNER_ID`` of its own; the one whose id holds "chief" serves the
oracle and runs no trials. All processes run the same search on the same data.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from autokit.tuning.oracles import (
    OBJECTIVE,
    asked,
    oracle_id,
    oracle_of,
    quiet,
    sampler_of,
    score_of,
)
from autokit.tuning.samplers import Exhausted, SamplerMaker, Task
from autokit.tuning.search import SearchFailed
from autokit.tuning.space import Space
from autokit.tuning.trial import COMPLETE, FAILED, Trial

logger = logging.getLogger(__name__)

_POLL_S = 0.2
_MOST_RETRIES = 10**6  # of trials that were given up; those that failed are not tried again
# keras-tuner waits an hour for every answer: also for those of a chief that has left
_ARRIVAL_S = 600.0  # for the first answer: the chief may still read its data
_ANSWER_S = 60.0


def role() -> str | None:
    """What this process is in a distributed search: "chief", "worker" or None.

    Raises
    ------
    RuntimeError
        keras-tuner's, for variables that are only partly set.
    """
    if "KERASTUNER_ORACLE_IP" not in os.environ:
        return None
    from keras_tuner.src.distribute import utils

    utils.has_chief_oracle()
    return "chief" if utils.is_chief_oracle() else "worker"


def serve(tuner: Any, task: Task, deadline: float | None = None) -> list[Trial]:
    """Be the chief: answer the workers until the search is over.

    Parameters
    ----------
    tuner : str or keras_tuner.Oracle
    task : Task
    deadline : float or None
        ``time.monotonic()`` second after which the workers are left alone.

    Returns
    -------
    list of Trial
        In the order of finishing.

    Raises
    ------
    SearchFailed
        No trial gave a score.
    """
    import grpc
    from keras_tuner.src import protos
    from keras_tuner.src.distribute import oracle_chief
    from keras_tuner.src.engine.trial import Trial as OracleTrial

    class Servicer(oracle_chief.OracleServicer):
        def EndTrial(self, request, context):
            # the oracle's own values: the wire makes other types of some
            trial = self.oracle.trials[request.trial.trial_id]
            trial.status = OracleTrial.from_proto(request.trial).status
            self.oracle.end_trial(trial)
            return protos.get_service().EndTrialResponse()

    oracle = oracle_of(tuner, task)
    oracle.max_trials = min(oracle.max_trials or task.n_trials, task.n_trials)
    oracle.max_retries_per_trial = _MOST_RETRIES
    servicer = Servicer(oracle)
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    address = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
    # keras-tuner prints conditions that it sends
    with quiet(oracle), contextlib.redirect_stdout(io.StringIO()):
        server.add_insecure_port(address)
        server.start()
        while not (servicer.stop_triggered and oracle_chief.exit_chief(oracle)):
            if deadline is not None and time.monotonic() >= deadline:
                break
            time.sleep(_POLL_S)
        server.stop(grace=1.0).wait()
    found = [_trial_of(oracle.trials[trial_id]) for trial_id in oracle.end_order]
    found = [trial for trial in found if trial is not None]
    trials = [replace(trial, number=i) for i, trial in enumerate(found)]
    if not any(trial.status == COMPLETE for trial in trials):
        errors = [trial.error for trial in trials if trial.status == FAILED]
        raise SearchFailed(
            f"No trial of the workers finished; the first raised {errors[0]}."
            if errors
            else "No trial of the workers finished: raise 'time_budget_s', or start the workers."
        )
    return trials


class Worker:
    """A process that runs trials of the chief's search, in the place of a tuner and a storage.

    It waits ten minutes for the chief to be there and a minute for each later answer; then, or
    when the chief has left, its search is over.

    Parameters
    ----------
    space : Space
    """

    def __init__(self, space: Space):
        from keras_tuner.src.distribute.oracle_client import OracleClient

        self._space, self._client = space, OracleClient(None)
        self._client.stub = _Impatient(self._client.stub)
        self._name = self._client.tuner_id
        digits = "".join(c for c in self._name if c.isdigit())
        self.worker = int(digits) if digits else zlib.crc32(self._name.encode())
        self._running: dict[str, tuple[str, Any]] = {}  # by trial: the id it was asked with
        self._ids: list[str] = []
        self._seen: set[str] = set()
        self._is_over = False
        self._lock = threading.RLock()

    def sampler(self) -> SamplerMaker:
        """What gives each trial the sampler that asks the chief."""
        sampler = sampler_of(self, self._space)
        return lambda number: sampler

    def ask(self, finished: list) -> tuple[str, dict[str, Any]]:
        """The next trial of the chief, as `autokit.tuning.oracles.LocalOracle.ask`."""
        with self._lock:
            tuner_id = self._free_id()
            trial = None if self._is_over else self._call(self._client.create_trial, tuner_id)
            if trial is None or trial.status == "STOPPED":
                self._sign_off(tuner_id)
                raise Exhausted
            trial_id, values = asked(trial)
            self._running[trial_id] = tuner_id, trial
            return trial_id, values

    def write(self, trial: Trial, frozen: Any) -> None:
        """Tell the chief how a trial has ended, folds and all."""
        with self._lock:
            _, theirs = self._running.pop(oracle_id(frozen))
            score = score_of(frozen)
            theirs.status = "FAILED" if score is None else "COMPLETED"
            self._seen.add(theirs.trial_id)
            # metrics are named numbers; what is no number travels as a name
            metrics = {OBJECTIVE: score or 0.0, json.dumps(trial.to_json()): 1.0}
            if self._call(self._client.update_trial, theirs.trial_id, metrics) is not None:
                self._call(self._client.end_trial, theirs)

    def give_up(self, trial_id: str | None = None) -> None:
        """Let another worker run a trial; without one named, do nothing."""
        with self._lock:
            if trial_id in self._running:
                _, theirs = self._running.pop(trial_id)
                theirs.status = "INVALID"
                self._call(self._client.end_trial, theirs)

    def strangers(self) -> list[tuple[Trial, Any]]:
        """Trials that others have finished since the last time."""
        with self._lock:
            found = [] if self._is_over else self._call(self._client.get_best_trials, 10**6) or []
            new = []
            for theirs in found:
                trial = None if theirs.trial_id in self._seen else _trial_of(theirs)
                if trial is not None:
                    self._seen.add(theirs.trial_id)
                    new.append((trial, self._frozen(trial, theirs)))
            return new

    def begin(self, n_trials: int) -> bool:
        """Whether a trial may begin: the chief counts them."""
        return True

    def n_running_elsewhere(self, here: bool = False) -> int:
        """None that this process would wait for."""
        return 0

    def close(self) -> None:
        """Give up what runs, and leave."""
        for trial_id in list(self._running):
            self.give_up(trial_id)

    def _free_id(self) -> str:
        busy = {tuner_id for tuner_id, _ in self._running.values()}
        n = 0
        while f"{self._name}-{n}" in busy:
            n += 1
        if n == len(self._ids):
            self._ids.append(f"{self._name}-{n}")
        return f"{self._name}-{n}"

    def _sign_off(self, told: str) -> None:
        """The chief goes when everybody was told that the search is over."""
        busy = {tuner_id for tuner_id, _ in self._running.values()}
        for tuner_id in self._ids:
            if tuner_id != told and tuner_id not in busy and not self._is_over:
                self._call(self._client.create_trial, tuner_id)
        if not busy:
            self._is_over = True

    def _call(self, method: Any, *arguments: Any) -> Any:
        """Call the chief; None once it is gone."""
        import grpc

        if self._is_over:
            return None
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return method(*arguments)
        except grpc.RpcError as error:
            logger.warning("the chief does not answer any more: %s", error.details())
            self._is_over = True
            return None

    def _frozen(self, trial: Trial, theirs: Any) -> Any:
        import optuna

        states = optuna.trial.TrialState
        is_complete = trial.status == COMPLETE
        return optuna.trial.create_trial(
            state=states.COMPLETE
            if is_complete
            else states.FAIL
            if trial.status == FAILED
            else states.PRUNED,
            value=theirs.score if is_complete else None,
            params=trial.values,
            distributions=self._space.distributions(trial.values),
        )


class _Impatient:
    """The chief's calls, with an end to waiting: it may have left before a late worker came."""

    def __init__(self, stub: Any):
        self._stub, self._patience_s = stub, _ARRIVAL_S

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._stub, name)

        def bounded(request: Any, **options: Any) -> Any:
            answer = call(request, **options | {"timeout": self._patience_s})
            self._patience_s = _ANSWER_S
            return answer

        return bounded


def _trial_of(theirs: Any) -> Trial | None:
    """The trial that a worker has sent along with its score."""
    for name in theirs.metrics.metrics:
        if name.startswith("{") and theirs.status in ("COMPLETED", "FAILED"):
            return Trial.from_json(json.loads(name))
    return None
