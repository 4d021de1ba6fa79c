"""The client's half of a round, whoever runs it: what it starts from, keeps, and sends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autokit.federated.engines.collector import Collector, Work
from autokit.federated.protocols import Broadcast, Federation, Packed, Updates
from autokit.federated.schedule import packing_generator

VARIATE, RESIDUAL, LOCAL = "variate", "residual", "local"  # what a client keeps


def trained(
    collector: Collector, broadcast: Broadcast, work: Sequence[Work], kept: Sequence[dict]
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
    n_bytes = 4 * np.full(len(work), layout.size - (int(mask.sum()) if starts is not None else 0))
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
        n_bytes = n_bytes + 4 * layout.n_params
        for own, variate in zip(kept, after, strict=True):
            own[VARIATE] = variate
    if federation.privacy is not None:
        federation.privacy.limit(updates, broadcast.clip_norm)
    if federation.communication is not None:
        n_bytes = n_bytes - 4 * layout.size + _pack(updates, kept, federation, broadcast.round)
    updates.bytes_up = n_bytes
    return updates, kept


def _pack(updates: Updates, kept: list[dict], federation: Federation, round_number: int):
    """Replace each update by what is left of it on the wire; return the bytes."""
    way, n_bytes = federation.communication, np.zeros(len(kept), np.int64)
    for i, (client, own) in enumerate(zip(updates.clients, kept, strict=True)):
        update = updates.deltas[i]
        if way.error_feedback:
            update = update + own.get(RESIDUAL, np.float32(0))
        if not np.isfinite(update).all():
            continue  # the server drops it
        rng = packing_generator(federation.seed, round_number, int(client))
        packed: Packed = way.pack(update, rng)
        updates.deltas[i] = way.unpack(packed, update.size)
        n_bytes[i] = packed.size_bytes
        if way.error_feedback:
            own[RESIDUAL] = update - updates.deltas[i]
    return n_bytes
