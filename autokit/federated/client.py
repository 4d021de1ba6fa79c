"""The client's half of a round, whoever runs it: what it starts from, keeps, and sends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autokit.federated.engines.collector import Collector, Work
from autokit.federated.protocols import Broadcast, Communication, Federation, Packed, Updates
from autokit.federated.schedule import packing_generator

VARIATE, RESIDUAL, LOCAL = "variate", "residual", "local"  # what a client keeps


def trained(
    collector: Collector,
    broadcast: Broadcast,
    work: Sequence[Work],
    kept: Sequence[dict],
    packed: list | None = None,
) -> tuple[Updates, list[dict]]:
    """Train clients, and make of it what they send.

    Parameters
    ----------
    collector : Collector
    broadcast : Broadcast
    work : sequence of Work
        At least one client's.
    kept : sequence of dict of str to np.ndarray
        What each kept from its last round; empty in its first.
    packed : list, default=None
        Is given what goes over the wire with a `Communication`: of each client a `Packed`, or None
        where its update is not finite and goes as it is.

    Returns
    -------
    updates : Updates
        As the server reads them: packed and unpacked again where that loses something.
    kept : list of dict
        For their next round, if the server takes the update.
    """
    federation = collector.federation
    layout, algorithm = federation.layout, federation.algorithm
    corrections = starts = variates = None
    if algorithm.has_variates:
        none = np.zeros(layout.n_params, np.float32)
        variates = np.stack([k.get(VARIATE, none) for k in kept])
        corrections = algorithm.correction(broadcast.shared[None], variates)
    if federation.batch_norm == LOCAL:
        mask = layout.normalization_mask
        starts = np.tile(broadcast.weights, (len(work), 1))
        for start, own in zip(starts, kept, strict=True):
            start[mask] = own.get(LOCAL, broadcast.weights[mask])
    updates = collector.collect(broadcast, work, corrections=corrections, starts=starts)
    kept = [dict(own) for own in kept]
    if starts is not None:
        ends = starts[:, mask] + updates.deltas[:, mask]
        updates.deltas[:, mask] = 0.0
        for own, end in zip(kept, ends, strict=True):
            own[LOCAL] = end
    n_bytes = np.full(len(work), 4 * (layout.size - (0 if starts is None else int(mask.sum()))))
    if variates is not None:
        rate = federation.learning_rate
        after = algorithm.leave(
            broadcast.shared[None],
            variates,
            updates.deltas[:, : layout.n_params],
            updates.n_steps[:, None].astype(np.float32),
            rate,
        ).astype(np.float32)
        updates.changes = after - variates
        for own, variate in zip(kept, after, strict=True):
            own[VARIATE] = variate
    if federation.communication is not None:
        sent = _pack(updates, kept, federation, broadcast.round)
        plain = n_bytes[0]
        n_bytes = np.array([plain if p is None else p.size_bytes for p in sent])
        if packed is not None:
            packed += sent
    if variates is not None:
        n_bytes = n_bytes + 4 * layout.n_params
    updates.bytes_up = n_bytes
    return updates, kept


def wire(federation: Federation) -> Communication | None:
    """What packs an update: the federation's `communication`, of what leaves a client alone."""
    if federation.communication is None or federation.batch_norm != LOCAL:
        return federation.communication
    return _Partial(federation.communication, ~federation.layout.normalization_mask)


class _Partial(Communication):
    """Another communication, of some places of a vector; 0 stays in the others."""

    def __init__(self, inner: Communication, mask: np.ndarray):
        self.inner, self.mask = inner, mask
        self.error_feedback = inner.error_feedback

    def pack(self, update, rng):
        return self.inner.pack(update[self.mask], rng)

    def unpack(self, packed, size):
        update = np.zeros(size, np.float32)
        update[self.mask] = self.inner.unpack(packed, int(self.mask.sum()))
        return update


def _pack(
    updates: Updates, kept: list[dict], federation: Federation, round_number: int
) -> list[Packed | None]:
    """Replace each update by what is left of it on the wire; return what is there."""
    way, sent = wire(federation), []
    for i, (client, own) in enumerate(zip(updates.clients, kept, strict=True)):
        update = updates.deltas[i]
        if way.error_feedback:
            update = update + own.get(RESIDUAL, np.float32(0))
        if not np.isfinite(update).all():
            sent.append(None)  # the server drops it
            continue
        rng = packing_generator(federation.local_seed, round_number, int(client))
        packed = way.pack(update, rng)
        updates.deltas[i] = way.unpack(packed, update.size)
        sent.append(packed)
        if way.error_feedback:
            own[RESIDUAL] = update - updates.deltas[i]
    return sent
