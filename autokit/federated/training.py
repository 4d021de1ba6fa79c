"""Rounds: who takes part, what an engine makes of it, and what is noted."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autokit._backend import keras
from autokit.federated.protocols import (
    UNREADABLE,
    FederatedEngine,
    FederatedWarning,
    Federation,
    RoundReport,
    ServerState,
)
from autokit.federated.schedule import drawn
from autokit.federated.weights import WeightLayout
from autokit.privacy import Ledger, PrivacyBudgetSpent
from autokit.training import TrainingDiverged

_log = logging.getLogger("autokit.federated")


@dataclass
class Rounds:
    """What rounds have left.

    Attributes
    ----------
    state : ServerState
        After the last finished round.
    history : dict of list
        A value a round.
    ledger : Ledger or None
        What private rounds have spent.
    """

    state: ServerState
    history: dict[str, list] = field(default_factory=dict)
    ledger: Ledger | None = None


def run_rounds(
    federation: Federation,
    engine: FederatedEngine,
    done: Rounds,
    n_rounds: int,
    *,
    per_round: int | None,
    model: keras.Model,
    weights_of: Callable[[ServerState], np.ndarray] = lambda state: state.weights,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    judge: Callable[[], dict[str, float]] | None = None,
) -> None:
    """Run rounds, and note each in `done` as soon as it is finished.

    Parameters
    ----------
    federation : Federation
    engine : FederatedEngine
    done : Rounds
        Changed: whatever ends the training, finished rounds are in it.
    n_rounds : int
        More rounds.
    per_round : int or None
        Clients of a round; None is all. Private rounds draw each client for itself.
    model : keras.Model
        Written after each round if `callbacks` or `judge` look at it.
    weights_of : callable, default: the server's
        What is written.
    callbacks : sequence of keras.callbacks.Callback
        A round is their epoch.
    judge : callable, default=None
        ``() -> logs`` of `model`.

    Raises
    ------
    TrainingDiverged
        No client of a round had a finite update.
    PrivacyBudgetSpent
        Not one more round is within the budget.
    """
    hooks = keras.callbacks.CallbackList(
        list(callbacks), model=model, epochs=n_rounds, steps=1, verbose=0
    )
    private = federation.privacy
    n_clients = len(federation.clients)
    rate = None if private is None else private.client_rate
    first = done.state.round
    begin = _with_rule(done.state, federation.step.rule)
    logs: dict[str, float] = {}
    told: set[int] = set()
    model.stop_training = False
    with engine.open(federation, begin) as run:
        hooks.on_train_begin()
        for number in range(first, first + n_rounds):
            if private is not None and not private.affords_round(done.ledger):
                if number == first:
                    raise PrivacyBudgetSpent(
                        f"No round is left in the budget of {private.privacy}: "
                        f"{done.ledger.n_steps} rounds have spent it. Keep the model as it is, or "
                        "accept a larger 'epsilon'."
                    )
                break
            hooks.on_epoch_begin(number - first)
            chosen = drawn(federation.seed, number, n_clients, per_round, rate)
            report = run.round(chosen)
            if private is not None:  # what it spent is spent
                done.ledger = private.after_round(done.ledger)
            _check(report, federation)
            _tell(report, federation, told)
            _check_step(run.state, federation)
            done.state = run.state
            logs = {"loss": report.loss}
            if not np.isnan(report.score):
                logs["score"] = report.score
            if private is not None:
                logs["epsilon"] = private.spent(done.ledger)
            if callbacks or judge is not None:
                federation.layout.write(model, weights_of(done.state))
            if judge is not None:
                logs |= judge()
            _note(done.history, logs, report, federation.clients.names)
            _log.info(
                "round %d: %d clients, %d dropped, loss %.4f",
                number, len(report.clients), len(report.dropped), report.loss,
            )  # fmt: skip
            hooks.on_epoch_end(number - first, logs)
            if callbacks:
                done.state = run.state = adopted(done.state, weights_of(done.state), model)
            if model.stop_training:
                break
        hooks.on_train_end(logs)
        if callbacks:
            done.state = adopted(done.state, weights_of(done.state), model)


def adopted(state: ServerState, written: np.ndarray, model: keras.Model) -> ServerState:
    """A state with the weights that others put into the model: callbacks, or a compression.

    Parameters
    ----------
    state : ServerState
    written : np.ndarray of shape (size,)
        What was written into the model.
    model : keras.Model
        With other weights perhaps; momenta and what clients keep are dropped if it has others
        than before.

    Returns
    -------
    ServerState
    """
    found = WeightLayout.of(model).vector(model)
    if found.shape != written.shape:
        return ServerState(found, round=state.round, privacy=state.privacy)
    changed = found != written
    if not changed.any():
        return state
    # in an engine of another process they would be those of before
    return replace(state, weights=np.where(changed, found, state.weights), engine={})


def _check(report: RoundReport, federation: Federation) -> None:
    if report.clients or not report.dropped:
        return
    if all("not finite" in why for why in report.dropped.values()):
        raise TrainingDiverged(
            f"No client of the round had a finite update: lower 'client_learning_rate' (it is "
            f"{federation.learning_rate}), or the server's learning rate (it is "
            f"{federation.step['learning_rate']}), or look for extreme values in X or y."
        )
    why = next(iter(report.dropped.values()))
    warnings.warn(
        f"None of the {len(report.dropped)} clients of a round gave an update ({why}); the model "
        "stayed as it was.",
        FederatedWarning,
        stacklevel=5,
    )


def _tell(report: RoundReport, federation: Federation, told: set[int]) -> None:
    """Warn of each client whose rows cannot be read, once: nobody expects that."""
    for client, why in report.dropped.items():
        if why.startswith(UNREADABLE) and client not in told and report.clients:
            told.add(client)
            warnings.warn(
                f"Client {federation.clients.names[client]!r} is left out: {why}",
                FederatedWarning,
                stacklevel=5,
            )


def _check_step(state: ServerState, federation: Federation) -> None:
    if not np.isfinite(state.weights).all():
        raise TrainingDiverged(
            f"The server's step {federation.step} along what {federation.aggregator!r} made of the "
            "updates is not finite, and the model stays as it was: lower the learning rate of "
            "'server_optimizer', or of 'algorithm'."
        )


def _with_rule(state: ServerState, rule: str) -> ServerState:
    """Without momenta of another rule, which this one would take for its own."""
    if state.rule_of not in ("", rule):
        state = replace(state, rule=[])
    return replace(state, rule_of=rule)


def _note(history: dict, logs: dict, report: RoundReport, names: list) -> None:
    entries = logs | {
        "clients": [names[client] for client in report.clients],
        "dropped": {names[client]: why for client, why in report.dropped.items()},
        "bytes_down": report.bytes_down,
        "bytes_up": report.bytes_up,
    }
    # one entry a round in every list: what is not known is NaN
    n_before = len(history.get("clients", ()))
    for name in entries:
        history.setdefault(name, [float("nan")] * n_before)
    for name, values in history.items():
        values.append(entries.get(name, float("nan")))
