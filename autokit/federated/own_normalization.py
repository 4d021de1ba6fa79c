"""Batch normalisation that clients keep: what is in a model of the server, or of a client."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autokit._backend import keras
from autokit.federated.client import LOCAL
from autokit.federated.protocols import ServerState
from autokit.federated.weights import WeightLayout


def own_of(state: ServerState) -> dict:
    """Weights and statistics of each client that has its own, by its name."""
    return {name: kept[LOCAL] for name, kept in state.kept.items() if LOCAL in kept}


def weights_of(state: ServerState, model: keras.Model, client=None) -> np.ndarray:
    """The server's weights, with a client's own batch normalisation, or the mean of all."""
    owned = own_of(state)
    if not owned:
        return state.weights
    own = owned.get(client)
    if own is None:
        own = np.mean(list(owned.values()), axis=0)
    weights = state.weights.copy()
    weights[WeightLayout.of(model).normalization_mask] = own
    return weights


def averaged(state: ServerState, model: keras.Model) -> ServerState:
    """A state in which the server has the mean of it, and no client its own."""
    if not own_of(state):
        return state
    kept = {
        name: {key: value for key, value in own.items() if key != LOCAL}
        for name, own in state.kept.items()
    }
    # in an engine of another process there would be what clients had
    return replace(state, weights=weights_of(state, model), kept=kept, engine={})
