"""A network of columns: one a task, each fed by the hidden layers of those before.

Column 0 is the first network itself, with its layers' names; the layers of column k are named
``column<k>_<name>``. One that hears earlier columns gets what it is given and what they are given
there, concatenated: a sum of projections, of which the others' start at zero. The outputs of all
columns are concatenated by a layer named ``columns``. Names and configuration tell everything, so
that a network that was saved goes on growing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autokit._backend import keras
from autokit.continual.network import head_of, placed
from autokit.layers import copied
from autokit.training import seeded

OUTPUTS = "columns"
_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
# settings by which a layer draws at random while it is trained
_NOISE = ("rate", "stddev", "dropout", "recurrent_dropout")


def heads_of(network: keras.Model) -> list:
    """The output tensor of each column; one of a network without columns."""
    operation = network.outputs[0]._keras_history.operation
    return list(operation.input) if operation.name == OUTPUTS else list(network.outputs)


def n_params(network: keras.Model) -> np.ndarray:
    """Parameters of each column, lateral ones included, int64 of shape (n_columns,)."""
    counts = np.zeros(len(heads_of(network)), np.int64)
    for layer in network.layers:
        counts[_column_of(layer.name)] += layer.count_params()
    return counts


def with_columns(
    network: keras.Model, widths: Sequence[int], places: np.ndarray, seed: int
) -> keras.Model:
    """A copy of the network with further columns, or with a wider last one.

    Parameters
    ----------
    network : keras.Model
        Ends in a dense layer, or is one that this function gave.
    widths : sequence of int
        Output units of each column wanted. Those of all but the last are frozen.
    places : np.ndarray of int
        The unit that each of the network's own becomes.
    seed : int
        Of the new weights.
    """
    heads = heads_of(network)
    template = keras.Model(network.inputs[0], heads[0])
    last = "" if len(heads) == 1 else _prefix(len(heads) - 1)
    settings = {t.name: network.get_layer(last + t.name) for t in _weighted(template)}
    shape, dtype = template.inputs[0].shape, template.inputs[0].dtype
    inputs = keras.Input(batch_shape=shape, dtype=dtype, name=template.inputs[0].name)
    columns: list[_Column] = []
    with seeded(seed):
        for number, width in enumerate(widths):
            is_frozen = number < len(widths) - 1
            columns.append(_Column(number, int(width), is_frozen, template, settings, columns[:]))
            columns[-1].build(template, inputs)
        outputs = [column.output for column in columns]
        outputs = outputs[0] if len(outputs) == 1 else _joined(outputs)
        grown = keras.Model(inputs, outputs)
    starts = np.concatenate([[0], np.cumsum([h.shape[-1] for h in heads])])
    firsts = np.concatenate([[0], np.cumsum(widths)])
    own = {layer.name: layer for layer in network.layers}
    is_trained = {name: bool(layer.trainable_weights) for name, layer in settings.items()}
    for layer in grown.layers:
        number = _column_of(layer.name)
        base = layer.name.removeprefix(_prefix(number))
        if layer.name in own:
            units = places[starts[number] : starts[number + 1]] - firsts[number]
            _carry(own[layer.name], layer, units)
        elif not is_trained.get(base, True):
            _carry(own[base], layer, np.zeros(0, int))  # what no column trains is the same in all
    return copied(grown)


class _Column:
    """One column, while it is built along the first."""

    def __init__(self, number, width, is_frozen, template, settings, earlier):
        self.number, self.width, self.is_frozen = number, width, is_frozen
        self.head, self.settings, self.earlier = head_of(template).name, settings, earlier
        self.given: dict[str, list] = {}  # by layer: what it was called on, if that is learnt
        self.same: list = []  # tensors that are alike in all columns
        self.names: dict[int, str] = {}

    def build(self, template, inputs) -> None:
        """Call a copy of each of the template's layers, in its order."""
        self.same = [inputs]
        self.output = keras.models.clone_model(
            template, input_tensors=inputs, clone_function=self.layer, call_function=self.call
        ).outputs[0]

    def layer(self, model):
        """A fresh copy of a layer of the template."""
        if not isinstance(model, keras.layers.Layer):
            return model  # an operation has nothing of its own
        base, config = model.name, model.get_config()
        own = self.settings.get(base)
        config["name"] = _prefix(self.number) + base
        if base == self.head:
            config["units"] = self.width
        if own is not None:
            noise = {k: own.get_config()[k] for k in _NOISE if k in config}
            config |= dict.fromkeys(noise, 0.0) if self.is_frozen else noise
        copy = type(model).from_config(config)
        if own is not None:
            copy.trainable = own.trainable and not self.is_frozen
        self.names[id(copy)] = base
        return copy

    def call(self, layer, *args, **kwargs):
        """The layer's answer to its own column and, where it can, to those before."""
        base = self.names.get(id(layer))
        own = self.settings.get(base)
        arguments = keras.tree.flatten((args, kwargs))
        tensors = [part for part in arguments if isinstance(part, keras.KerasTensor)]
        is_same = all(any(t is s for s in self.same) for t in tensors)
        if _connects(layer) and not is_same:
            self.given.setdefault(base, []).append(args[0])
            if self.earlier and len(self.earlier[0].given[base]) == 1:
                return _heard(layer, args[0], [c.given[base][0] for c in self.earlier])
        output = layer(*args, **kwargs)
        if is_same and (own is None or not own.trainable_weights):
            self.same += keras.tree.flatten(output)
        return output


def _heard(layer, own, others):
    """The layer's answer to its own input and others, which it does not heed at first."""
    both = keras.layers.Concatenate(name=f"{layer.name}_inputs")([own, *others])
    output, kernel, width = layer(both), layer.kernel, own.shape[-1]
    values = np.zeros(kernel.shape, np.float32)  # (..., n_inputs, n_outputs)
    values[..., :width, :] = layer.kernel_initializer((*kernel.shape[:-2], width, kernel.shape[-1]))
    kernel.assign(values)
    return output


def _joined(outputs):
    return keras.layers.Concatenate(name=OUTPUTS)(outputs)


def _connects(layer) -> bool:
    if type(layer) in _CONVOLUTIONS:
        return layer.groups == 1 and layer.data_format == "channels_last"
    return type(layer) is keras.layers.Dense


def _weighted(template) -> list:
    return [t for t in template.layers if not isinstance(t, keras.layers.InputLayer)]


def _prefix(number: int) -> str:
    return f"column{number}_" if number else ""


def _column_of(name: str) -> int:
    start, separator, _ = name.removeprefix("column").partition("_")
    is_later = name.startswith("column") and separator and start.isdigit()
    return int(start) if is_later else 0


def _carry(source, target, units) -> None:
    for old, new in zip(source.weights, target.weights, strict=True):
        value = old.value.numpy()
        new.assign(placed(value, tuple(new.shape), units, new.value.numpy()))
