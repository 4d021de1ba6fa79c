"""Changes to a network's graph: layers replaced, removed or narrowed, all others kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from autokit._backend import keras
from autokit.training import Held

# (layer, its inputs) -> its outputs; None keeps the layer as it is.
Change = Callable[[keras.layers.Layer, Any], Any]


def rebuilt(model: keras.Model, change: Change) -> keras.Model:
    """Rebuild a model, calling some of its layers otherwise.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential; it stays as it is. Models inside it are layers like others.
    change : callable
        ``(layer, inputs) -> outputs``: what takes the place of a layer's call, or None to call
        a copy of the layer with its weights. A layer that is called twice is asked about twice.

    Returns
    -------
    keras.Model
        Layers that no longer lead to an output are gone.

    Raises
    ------
    ValueError
        If the model has no graph of layers.
    """
    graph = functional(model)
    copies: dict[int, Any] = {}
    originals: dict[int, Any] = {}

    def copy_of(layer):
        if id(layer) not in copies:
            copies[id(layer)] = layer.__class__.from_config(layer.get_config())
            originals[id(copies[id(layer)])] = layer
        return copies[id(layer)]

    def call(copy, *args, **kwargs):
        layer = originals[id(copy)]
        changed = change(layer, args[0]) if args else None
        return copy(*args, **kwargs) if changed is None else changed

    new = keras.models.clone_model(graph, clone_function=copy_of, call_function=call)
    kept = {id(layer) for layer in new.layers}
    for layer in graph.layers:
        copy = copies.get(id(layer))
        if copy is not None and id(copy) in kept and layer.weights:
            copy.set_weights(layer.get_weights())
            if isinstance(copy, keras.layers.Normalization):
                copy.finalize_state()  # it computes with constants derived from its weights
            copy.trainable = layer.trainable
    return new


class Call(NamedTuple):
    """One call of a layer in a model's graph."""

    layer: keras.layers.Layer
    inputs: list
    outputs: list


def calls(model: keras.Model) -> list[Call]:
    """All calls of a functional model's layers, each after those that it depends on."""
    nodes = [
        n
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for n in model._nodes_by_depth[depth]
    ]
    return [Call(n.operation, list(n.input_tensors), list(n.outputs)) for n in nodes]


def functional(model: keras.Model) -> keras.Model:
    """The same layers as a functional model.

    Raises
    ------
    ValueError
        If the model is a subclass whose graph nobody knows.
    """
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise ValueError(
            f"estimator_or_model: the graph of a {type(model).__name__} is not known; build it "
            "from keras.Input, or as a keras.Sequential."
        )
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs, model.outputs[0])
    return model


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
