"""The supernet of the cell space."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from autokit._backend import keras, tf
from autokit.nas.oneshot.supernet import Supernet, mixture_inputs, operation_layers
from autokit.nas.spaces.cell import CellArchitecture, CellSpace, fitted_input
from autokit.nas.spaces.ops import op_builders

KINDS = ("normal", "reduction")


@dataclass(frozen=True)
class CellSupernet(Supernet):
    """Every earlier state has an edge to each node; an architecture keeps two edges a node.

    The edges are those of the normal cell, then those of the reduction cell, node by node, by
    the state they come from. A node's decisions are the pair of states and the two operations.

    Parameters
    ----------
    n_nodes : int
        Of each cell.
    """

    n_nodes: int = 4

    @property
    def edge_names(self):
        """Kind of cell, target and source."""
        return tuple(
            f"{kind}: {node} <- {state - 2 if state > 1 else ('in 0', 'in 1')[state]}"
            for kind in KINDS
            for node in range(self.n_nodes)
            for state in range(node + 2)
        )

    def discretise(self, mixture):
        """Of each node, the two edges whose strongest operation, "none" apart, is strongest.

        References
        ----------
        Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, section 2.4.
        """
        mixture = np.array(mixture, float)
        if self.none is not None:
            mixture[:, self.none] = -np.inf
        strongest, best = mixture.max(axis=1), mixture.argmax(axis=1)
        nodes = []
        for edges in self.nodes:
            kept = sorted(np.argsort(-strongest[list(edges)], kind="stable")[:2])
            nodes.append(tuple((int(s), self.operations[best[edges[s]]]) for s in kept))
        return self._of_nodes(nodes)

    def choices(self, architecture):
        """The operations' numbers of the edges that are kept."""
        chosen = np.full(self.n_edges, self.n_operations, "int32")
        for edges, node in zip(
            self.nodes, (*architecture.normal, *architecture.reduction), strict=True
        ):
            for state, op in node:
                chosen[edges[state]] = self.operations.index(op)
        return chosen

    def architecture(self, decisions):
        """The nodes, three decisions each."""
        nodes = []
        for edges, (pair, *ops) in zip(self.nodes, _threes(decisions), strict=True):
            states = _pairs(len(edges))[int(pair)]
            nodes.append(
                tuple((s, self.operations[int(op)]) for s, op in zip(states, ops, strict=True))
            )
        return self._of_nodes(nodes)

    def route(self, decisions):
        """Each edge's operation, if it is one of its node's pair."""
        columns = []
        for edges, (pair, first, second) in zip(
            self.nodes, _threes(tf.unstack(decisions, axis=1)), strict=True
        ):
            left, right = tf.unstack(tf.gather(tf.constant(_pairs(len(edges))), pair), axis=1)
            for state in range(len(edges)):
                is_right = tf.where(tf.equal(right, state), second, self.n_operations)
                columns.append(tf.where(tf.equal(left, state), first, is_right))
        return tf.stack(columns, axis=1)

    def _of_nodes(self, nodes) -> CellArchitecture:
        return CellArchitecture(tuple(nodes[: self.n_nodes]), tuple(nodes[self.n_nodes :]))


def cell_supernet(space: CellSpace, input_shape, n_outputs, output_activation) -> CellSupernet:
    """The supernet behind `CellSpace.supernet`."""
    space.check_input(input_shape)
    names = tuple(space.ops)
    builders = op_builders(space.ops, names)
    per_cell = sum(node + 2 for node in range(space.n_nodes))
    rows, mixture, edge = mixture_inputs(input_shape, 2 * per_cell, len(names))
    nodes = _numbered_edges(space.n_nodes)

    def cell(before, last, width, strides):
        kind = nodes[space.n_nodes :] if strides == 2 else nodes[: space.n_nodes]
        states = [fitted_input(before, last, width), fitted_input(last, last, width)]
        for edges in kind:
            terms = []
            for state, number in enumerate(edges):
                step = strides if state < 2 else 1
                layers = operation_layers(builders, states[state], width, step)
                terms.append(edge(number, states[state], layers))
            states.append(keras.layers.Add()(terms))
        made = states[2:]
        return made[0] if len(made) == 1 else keras.layers.Concatenate()(made)

    return CellSupernet(
        model=keras.Model([rows, mixture], space.outputs(rows, n_outputs, output_activation, cell)),
        operations=names,
        nodes=nodes,
        options=tuple(
            n
            for _ in KINDS
            for node in range(space.n_nodes)
            for n in (len(_pairs(node + 2)), len(names), len(names))
        ),
        skip=names.index("skip_connect") if "skip_connect" in names else None,
        none=names.index("none") if "none" in names else None,
        n_nodes=space.n_nodes,
    )


def _numbered_edges(n_nodes: int) -> tuple[tuple[int, ...], ...]:
    numbers = itertools.count()
    return tuple(
        tuple(next(numbers) for _ in range(node + 2)) for _ in KINDS for node in range(n_nodes)
    )


def _pairs(n_states: int) -> list[tuple[int, int]]:
    return list(itertools.combinations(range(n_states), 2))


def _threes(decisions) -> list:
    return [tuple(decisions[i : i + 3]) for i in range(0, len(decisions), 3)]
