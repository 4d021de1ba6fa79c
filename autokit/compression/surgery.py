"""Changes to a network's graph: layers replaced, removed or narrowed, all others kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autokit._backend import keras
from autokit.layers.graphs import Copies, Graph, graph_of
from autokit.layers.graphs import rebuilt as _rebuilt
from autokit.training import Held

# (layer, its first input or list of inputs) -> its outputs; None keeps the layer as it is.
Change = Callable[[keras.layers.Layer, Any], Any]


def rebuilt(graph: Graph, change: Change) -> keras.Model:
    """Rebuild a network, calling some of its layers otherwise.

    Parameters
    ----------
    graph : Graph
        From `autokit.layers.graphs.graph_of`.
    change : callable
        ``(layer, inputs) -> outputs``: what takes the place of a layer's call, or None to call
        a copy of the layer with its weights. A layer that is called twice is asked about twice.

    Returns
    -------
    keras.Model
        Layers that no longer lead to an output are gone.
    """
    copies = Copies()

    def emit(call, *args, **kwargs):
        changed = change(call.layer, args[0]) if args else None
        return copies.emit(call, *args, **kwargs) if changed is None else changed

    return _rebuilt(graph, emit)


def resolved(model: keras.Model) -> Graph:
    """A model as calls of layers, models inside it resolved into theirs.

    Raises
    ------
    ValueError
        If the model has no graph of layers.
    """
    try:
        return graph_of(model)
    except ValueError as error:
        raise ValueError(f"estimator_or_model: {error}") from error


def moved(held: Held, old: keras.Model, new: keras.Model) -> Held:
    """What is held, in the places of a rebuilt model; dropped where the variable is gone.

    Parameters
    ----------
    held : Held
        Places in ``old.variables``.
    old, new : keras.Model

    Returns
    -------
    Held
        Places in ``new.variables``.
    """
    places = {v.path: i for i, v in enumerate(new.variables)}

    def move(former):
        paths = [old.variables[i].path for i in former]
        return tuple(sorted(places[path] for path in paths if path in places))

    return Held(move(held.zeros), move(held.clusters))
