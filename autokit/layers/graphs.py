"""Networks as lists of layer calls, from which changed networks are built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from autokit._backend import keras


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer.

    Attributes
    ----------
    layer : keras.layers.Layer or keras.Operation
    args, kwargs
        Keras tensors, alone or nested, and plain values.
    outputs : KerasTensor or a structure of them
    """

    layer: Any
    args: tuple
    kwargs: dict[str, Any]
    outputs: Any

    @property
    def inputs(self) -> list:
        """The Keras tensors that it takes."""
        flat = keras.tree.flatten((self.args, self.kwargs))
        return [x for x in flat if isinstance(x, keras.KerasTensor)]


@dataclass
class Graph:
    """A network as calls of layers, in an order in which they can be computed.

    Attributes
    ----------
    inputs, outputs : list of KerasTensor
    calls : list of Call
        Nested models are resolved into their layers.
    """

    inputs: list
    outputs: list
    calls: list[Call] = field(default_factory=list)

    def consumers(self, tensor: Any) -> list[Call]:
        """The calls that take a tensor."""
        return [c for c in self.calls if any(t is tensor for t in c.inputs)]

    def is_output(self, call: Call) -> bool:
        """Whether the network returns what a call does."""
        return any(t is call.outputs for t in self.outputs)

    def sole_consumer(self, call: Call) -> Call | None:
        """The one call that takes the outputs of another; None if there are several or none."""
        if self.is_output(call):
            return None
        consumers = self.consumers(call.outputs)
        return consumers[0] if len(consumers) == 1 else None

    def is_called_once(self, layer: Any) -> bool:
        """Whether a layer is not shared."""
        return sum(c.layer is layer for c in self.calls) == 1


def graph_of(model: keras.Model) -> Graph:
    """Resolve a network into calls of its layers.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, and built. Its layers are called once more: of a model that
        somebody else holds, pass a copy.

    Returns
    -------
    Graph

    Raises
    ------
    ValueError
        If the model is neither.
    """
    if not getattr(model, "inputs", None):
        raise ValueError(
            f"the model is a {type(model).__name__} whose layers are called by code of its own; "
            "build it by the functional API, or as a Sequential."
        )
    calls: list[Call] = []

    def called(layer, *args, **kwargs):
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            outputs = _replayed(layer, called, keras.tree.flatten(args))
            return outputs if len(outputs) > 1 else outputs[0]
        outputs = layer(*args, **kwargs)
        calls.append(Call(layer, args, kwargs, outputs))
        return outputs

    inputs = _inputs_like(model.inputs)
    return Graph(inputs, _replayed(model, called, inputs), calls)


def rebuilt(graph: Graph, emit: Callable[..., Any], name: str | None = None) -> keras.Model:
    """Build a network by going through the calls of another one.

    Parameters
    ----------
    graph : Graph
    emit : callable
        ``(call, *args, **kwargs) -> outputs``: what takes the place of a call, on new tensors.
    name : str, default=None

    Returns
    -------
    keras.Model
        With the inputs and as many outputs as the graph.
    """
    inputs = _inputs_like(graph.inputs)
    new = {id(t): x for t, x in zip(graph.inputs, inputs, strict=True)}
    for call in graph.calls:
        args, kwargs = keras.tree.map_structure(
            lambda x: new.get(id(x), x), (call.args, call.kwargs)
        )
        outputs = emit(call, *args, **kwargs)
        for old, made in zip(
            keras.tree.flatten(call.outputs), keras.tree.flatten(outputs), strict=True
        ):
            new[id(old)] = made
    outputs = [new[id(t)] for t in graph.outputs]
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        outputs if len(outputs) > 1 else outputs[0],
        name=name,
    )


class Copies:
    """Fresh layers in place of given ones: of equal settings and weights, each made once."""

    def __init__(self) -> None:
        self._made: dict[Any, Any] = {}
        self._names: set[str] = set()

    def emit(self, call: Call, *args: Any, **kwargs: Any) -> Any:
        """Call a copy of the call's layer."""
        layer = call.layer

        def make():
            return type(layer).from_config(self.config_of(layer))

        return self.called(layer, make, args, kwargs, getattr(layer, "variables", ()))

    def called(
        self, replaced: Any, make: Callable[[], Any], args: tuple, kwargs: dict, values: Any
    ) -> Any:
        """Call the layer that `make` returns in place of another; it is asked only once.

        Parameters
        ----------
        replaced : hashable
            What it is made in place of: a layer, or a part of one.
        make : callable
        args, kwargs
            Of the call.
        values : sequence of tensor
            For the new layer's variables, in their order.

        Returns
        -------
        KerasTensor or a structure of them
        """
        if replaced in self._made:
            return self._made[replaced](*args, **kwargs)
        copy = self._made[replaced] = make()
        outputs = copy(*args, **kwargs)
        for variable, value in zip(getattr(copy, "variables", ()), values, strict=True):
            variable.assign(value)
        if isinstance(copy, keras.layers.Normalization):
            copy.finalize_state()  # it computes with constants that it derives from its weights
        return outputs

    def config_of(self, layer: Any) -> dict[str, Any]:
        """A layer's settings, its name made distinct."""
        config = layer.get_config()
        return {**config, "name": self.distinct(layer.name)}

    def distinct(self, name: str) -> str:
        """A name that no copy has: this one, or with a number behind it."""
        chosen, n = name, 1
        while chosen in self._names:
            n += 1
            chosen = f"{name}_{n}"
        self._names.add(chosen)
        return chosen


def _inputs_like(tensors: list) -> list:
    return [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in tensors]


def _replayed(model: keras.Model, called: Callable, inputs: list) -> list:
    """Call a model's layers in their order on new inputs; return what its outputs become."""
    # Keras hands out no map of tensors: a layer behind each output catches what arrives there.
    ends = [keras.layers.Identity() for _ in model.outputs]
    arrived = {}

    def caught(layer, *args, **kwargs):
        if any(layer is end for end in ends):
            arrived[layer] = args[0]
            return args[0]
        return called(layer, *args, **kwargs)

    # In this form inputs and outputs are flat lists, also of a Sequential.
    outputs = [end(tensor) for end, tensor in zip(ends, model.outputs, strict=True)]
    keras.models.clone_model(
        keras.Model(list(model.inputs), outputs),
        input_tensors=inputs,
        clone_function=lambda layer: layer,
        call_function=caught,
    )
    return [arrived[end] for end in ends]
