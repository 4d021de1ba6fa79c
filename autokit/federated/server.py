"""The server's half of a round: what it sends, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autokit.federated.protocols import (
    Broadcast,
    Federation,
    RoundReport,
    ServerState,
    Updates,
)
from autokit.federated.schedule import noise_generator


def broadcast_of(federation: Federation, state: ServerState) -> Broadcast:
    """What goes to the clients of the next round."""
    layout, algorithm = federation.layout, federation.algorithm
    shared = np.zeros(layout.n_params if algorithm.has_variates else 0, np.float32)
    if algorithm.has_variates and state.shared.size:
        shared = state.shared
    private, row_noise = federation.privacy, 0.0
    if private is not None and not private.hides_clients:
        row_noise = private.noise_multiplier
    return Broadcast(state.round, state.weights, shared, row_noise)


class Round:
    """Gathers the answers of one round, in as many pieces as they come.

    Parameters
    ----------
    federation : Federation
    state : ServerState
        Not changed: `finish` gives the next.
    broadcast : Broadcast
    """

    def __init__(self, federation: Federation, state: ServerState, broadcast: Broadcast):
        self.federation, self.state, self.broadcast = federation, state, broadcast
        private = federation.privacy
        self._hiding = private if private is not None and private.hides_clients else None
        self._norm = 0.0 if self._hiding is None else private.norm(state.privacy)
        self._total = np.zeros(federation.layout.size, np.float64)
        self._weight = 0.0
        self._held: list[tuple[np.ndarray, np.ndarray]] = []  # where all are needed at once
        self._change = np.zeros(len(broadcast.shared), np.float64)
        self._kept: dict = {}
        self._clients: list[int] = []
        self._dropped: dict[int, str] = {}
        self._met = self._loss = self._hits = self._within = 0.0
        self._bytes_up = self._n_asked = 0

    def drop(self, client: int, why: str) -> None:
        """A client that was asked gives nothing."""
        self._n_asked += 1
        self._dropped[int(client)] = why

    def add(self, updates: Updates, kept: Sequence[dict]) -> None:
        """Take the answers of some clients, and what they keep if this round counts."""
        self._n_asked += len(updates.clients)
        if updates.bytes_up is not None:
            self._bytes_up += int(updates.bytes_up.sum())
        usable = np.isfinite(updates.deltas).all(axis=1) & np.isfinite(updates.losses)
        if updates.changes is not None:
            usable &= np.isfinite(updates.changes).all(axis=1)
        for client in updates.clients[~usable]:
            self._dropped[int(client)] = "its update is not finite"
        names = self.federation.clients.names
        for client, own, good in zip(updates.clients, kept, usable, strict=True):
            if good and own:
                self._kept[names[client]] = own
        if not usable.all():
            updates = updates.take(usable)
        if not len(updates.clients):
            return
        self._clients += [int(client) for client in updates.clients]
        self._met += float(updates.n_met.sum())
        self._loss += float(updates.losses.sum())
        self._hits += float(updates.hits.sum())
        if updates.changes is not None:
            self._change += updates.changes.sum(axis=0, dtype=np.float64)
        federation = self.federation
        deltas = federation.aggregator.limited(updates.deltas)
        if self._hiding is not None:
            # here, not by the clients: the noise must hide one that does not keep to it
            deltas, was_clipped = self._hiding.limited(deltas, self._norm)
            self._within += float((~was_clipped).sum())
        counts_rows = federation.algorithm.weighted and self._hiding is None
        weights = updates.n_rows.astype(np.float64) if counts_rows else np.ones(len(deltas))
        self._weight += float(weights.sum())
        if federation.aggregator.is_mean:
            self._total += weights.astype(np.float32) @ deltas
        else:
            self._held.append((deltas, weights))

    def finish(self) -> tuple[ServerState, RoundReport]:
        """The state after the round, and what to tell of it."""
        federation, state = self.federation, self.state
        layout, algorithm = federation.layout, federation.algorithm
        after = replace(state, round=state.round + 1, kept={**state.kept, **self._kept})
        mean = None
        if self._hiding is not None:
            rng = noise_generator(federation.seed, state.round)
            mean, after.privacy = self._hiding.release(
                self._total,
                self._norm,
                self._within,
                len(self._clients),
                state.privacy,
                rng,
            )
        elif self._clients:
            mean = self._mean()
        if mean is not None:
            n = layout.n_params
            params, after.rule = federation.step.apply(state.weights[:n], mean[:n], state.rule)
            after.weights = np.concatenate([params, state.weights[n:] + mean[n:]])
            if federation.structure is not None:
                after.weights = federation.structure(after.weights)
        if algorithm.has_variates and self._clients:
            share = len(self._clients) / len(federation.clients)
            change = self._change / len(self._clients)
            after.shared = algorithm.absorb(self.broadcast.shared, change, share).astype(np.float32)
        nan = float("nan")
        report = RoundReport(
            loss=self._loss / self._met if self._met else nan,
            score=self._hits / self._met if self._met else nan,
            clients=sorted(self._clients),
            dropped=self._dropped,
            bytes_down=self._n_asked * self._down(),
            bytes_up=self._bytes_up,
        )
        return after, report

    def _mean(self) -> np.ndarray:
        aggregator = self.federation.aggregator
        if aggregator.is_mean:
            return (self._total / self._weight).astype(np.float32)
        deltas, weights = (np.concatenate(parts) for parts in zip(*self._held, strict=True))
        return np.asarray(aggregator.combine(deltas, weights), np.float32)

    def _down(self) -> int:
        size = self.broadcast.size_bytes
        if self.federation.batch_norm == "local":
            size -= 4 * int(self.federation.layout.normalization_mask.sum())
        return size
