"""The supernet of the NAS-Bench-201 space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.nas.oneshot.supernet import Supernet, mixture_inputs, operation_layers
from autokit.nas.spaces.nb201 import EDGES, NB201Architecture, NB201Space
from autokit.nas.spaces.ops import op_builders


@dataclass(frozen=True)
class NB201Supernet(Supernet):
    """Every edge decides for one operation, "none" among them.

    Parameters
    ----------
    space : NB201Space
    """

    space: Any = None

    @property
    def edge_names(self):
        """Target and source."""
        return tuple(f"{target} <- {source}" for source, target in EDGES)

    def discretise(self, mixture):
        """The strongest operation of each edge; "none" is left out if it would cut every path."""
        found = self.architecture(np.argmax(mixture, axis=1))
        if self.none is not None and not self.space.is_connected(found):
            mixture = np.array(mixture, float)
            mixture[:, self.none] = -np.inf
            found = self.architecture(np.argmax(mixture, axis=1))
        return found

    def choices(self, architecture):
        """The operations' numbers."""
        return np.array([self.operations.index(op) for op in architecture.ops], "int32")

    def architecture(self, decisions):
        """The operations by number."""
        return NB201Architecture(tuple(self.operations[int(i)] for i in decisions))

    def route(self, decisions):
        """The decisions themselves."""
        return tf.identity(decisions)


def nb201_supernet(space: NB201Space, input_shape, n_outputs, output_activation) -> NB201Supernet:
    """The supernet behind `NB201Space.supernet`."""
    space.check_input(input_shape)
    names = tuple(space.ops)
    builders = op_builders(space.ops, names)
    rows, mixture, edge = mixture_inputs(input_shape, len(EDGES), len(names))

    def cell(x, width):
        states = [x]
        for node in (1, 2, 3):
            terms = [
                edge(number, states[source], operation_layers(builders, states[source], width))
                for number, (source, target) in enumerate(EDGES)
                if target == node
            ]
            states.append(terms[0] if len(terms) == 1 else keras.layers.Add()(terms))
        return states[3]

    outputs = space.outputs(rows, n_outputs, output_activation, cell)
    return NB201Supernet(
        model=keras.Model([rows, mixture], outputs),
        operations=names,
        nodes=tuple(
            tuple(i for i, (_, target) in enumerate(EDGES) if target == node) for node in (1, 2, 3)
        ),
        options=(len(names),) * len(EDGES),
        skip=names.index("skip_connect") if "skip_connect" in names else None,
        none=names.index("none") if "none" in names else None,
        space=space,
    )
