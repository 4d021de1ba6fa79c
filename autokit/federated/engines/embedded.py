"""The embedded engine: rounds in this process, all clients of a round compiled together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

from autokit.federated.client import trained
from autokit.federated.engines.collector import Collector, Work, work_of
from autokit.federated.protocols import UNREADABLE, Federation, RoundReport, ServerState
from autokit.federated.schedule import fault_generator
from autokit.federated.server import Round, broadcast_of

PIECE_BYTES = 1 << 26  # of rows, and of updates, that are held at once
PIECE_CLIENTS = 512

DROPPED_OUT = "it dropped out"


class EmbeddedEngine(BaseEstimator):
    """Rounds in this process.

    Small dense networks of all clients are trained side by side, as stacked matrices; any other
    network a client after the other inside one compiled loop. Rows are read when a round needs
    them, and updates are held a few at a time where the aggregator is a mean, so that memory does
    not grow with the clients.

    Parameters
    ----------
    dropouts : float in [0, 1), default=0.0
        Share of a round's clients whose answer is lost: a simulation of phones that go away.
    stragglers : float in [0, 1], default=0.0
        Share of a round's clients that only do a part of their steps, drawn evenly from 1 to all.
    """

    _parameter_constraints: ClassVar[dict] = {
        "dropouts": [Interval(Real, 0, 1, closed="left")],
        "stragglers": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, dropouts=0.0, stragglers=0.0):
        self.dropouts = dropouts
        self.stragglers = stragglers

    def check(self, federation: Federation) -> None:
        """Everything can be done here."""
        self._validate_params()

    @contextmanager
    def open(self, federation: Federation, state: ServerState) -> Iterator[EmbeddedRun]:
        """Begin, or go on from a state."""
        yield EmbeddedRun(self, federation, state)


class EmbeddedRun:
    """Rounds of one federation in this process.

    Parameters
    ----------
    engine : EmbeddedEngine
    federation : Federation
    state : ServerState
    """

    def __init__(self, engine: EmbeddedEngine, federation: Federation, state: ServerState):
        self.engine, self.federation, self.state = engine, federation, state
        self._collector = Collector(federation)

    def round(self, chosen: np.ndarray) -> RoundReport:
        """Run one round with the clients of these numbers."""
        federation, state = self.federation, self.state
        broadcast = broadcast_of(federation, state)
        gathered = Round(federation, state, broadcast)
        names = federation.clients.names
        for piece in self._pieces(chosen, gathered):
            kept = [state.kept.get(names[part.client], {}) for part in piece]
            gathered.add(*trained(self._collector, broadcast, piece, kept))
        self.state, report = gathered.finish()
        return report

    def _pieces(self, chosen: np.ndarray, gathered: Round) -> Iterator[list[Work]]:
        """The work of the clients that answer, as much of it as is held at once."""
        federation, engine, number = self.federation, self.engine, self.state.round
        rng = fault_generator(federation.seed, number)
        lost = rng.random(len(chosen)) < engine.dropouts
        slow = rng.random(len(chosen)) < engine.stragglers
        parts = rng.random(len(chosen))
        piece: list[Work] = []
        size = 0
        for i, client in enumerate(map(int, chosen)):
            if lost[i]:
                gathered.drop(client, DROPPED_OUT)
                continue
            try:
                data = federation.clients.batch(client)
            except (OSError, ValueError) as error:
                gathered.drop(client, f"{UNREADABLE}: {error}")
                continue
            work = work_of(federation, number, client, data)
            if slow[i]:
                work = work._replace(steps=work.steps[: 1 + int(parts[i] * len(work.steps))])
            cost = max(data.size_bytes, 4 * federation.layout.size)
            if piece and (size + cost > PIECE_BYTES or len(piece) == PIECE_CLIENTS):
                yield piece
                piece, size = [], 0
            piece.append(work)
            size += cost
        if piece:
            yield piece
