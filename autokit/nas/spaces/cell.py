"""The space of normal and reduction cells, stacked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from autokit._backend import keras
from autokit.layers import cells, networks
from autokit.nas.spaces.ops import check_image, check_ops, op_builders

CELL_SPACE_OPS = (
    "none", "skip_connect", "max_pool_3x3", "avg_pool_3x3", "conv_1x1", "conv_3x3", "conv_5x5",
    "sep_conv_3x3", "dil_conv_3x3",
)  # fmt: skip
DARTS_OPS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5",
    "dil_conv_3x3", "dil_conv_5x5",
)  # fmt: skip

Node = tuple[tuple[int, str], tuple[int, str]]
Cell = tuple[Node, ...]


@dataclass(frozen=True)
class CellArchitecture:
    """A normal and a reduction cell.

    A cell is a tuple of nodes, a node two pairs of an earlier state and the operation that it
    goes through, the earlier state first. States 0 and 1 are the outputs of the cell before the
    last and of the last cell, state ``2 + i`` is node ``i``.

    Parameters
    ----------
    normal : tuple of nodes
        The cell that keeps the sides of the image.
    reduction : tuple of nodes
        The cell that halves them: operations on states 0 and 1 have strides of 2.
    """

    normal: Cell
    reduction: Cell

    @property
    def graphs(self) -> dict[str, list[tuple[str, str, str]]]:
        """Edges (from, to, operation) of the cells by their names, "none" left out."""
        return {"normal": _edges(self.normal), "reduction": _edges(self.reduction)}


@dataclass(frozen=True)
class CellSpace:
    """Networks of two kinds of cells, as NASNet, ENAS and DARTS search them.

    A cell has `n_nodes` nodes; each is the sum of two different earlier states, each through an
    operation. All nodes together, one after another in the channels, are its output; what a 1x1
    convolution takes to the width of the cell is its input. Reduction cells sit at one and two
    thirds of the depth and double the width.

    Parameters
    ----------
    ops : tuple of str, or mapping of str to callable, default=CELL_SPACE_OPS
        Names of `autokit.layers.cells.CELL_OPS`, or functions ``(x, width, strides) -> y`` by
        name. `DARTS_OPS` are those of that paper.
    n_nodes : int, default=4
    n_cells : int, default=5
        Of both kinds, at least 3.
    width : int, default=16
        Channels of a node in the first cells.

    Raises
    ------
    ValueError
        If an operation is unknown, or a number is no int or too small.

    Notes
    -----
    A cell of which no node depends on an input has no output. `sample`, `mutate` and `crossover`
    do not propose any, and `build` refuses it. A single node without input is left out of the
    output of its cell.

    References
    ----------
    Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", 2019, sections 2.1 and 3.1.
    There both inputs of the first node are always used; here too, there being only two. The stem
    has `width` channels times three, as there.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.nas import CellSpace
    >>> space = CellSpace(n_nodes=1, n_cells=3, ops=("skip_connect", "sep_conv_3x3"))
    >>> space.size()
    16
    >>> print(space.describe(space.sample(np.random.default_rng(0))))
    normal: node 0 = sep_conv_3x3(input 0) + sep_conv_3x3(input 1)
    reduction: node 0 = sep_conv_3x3(input 0) + skip_connect(input 1)
    N-R-R of 16-32-64 channels a node
    """

    ops: tuple[str, ...] | Mapping[str, cells.CellOp] = CELL_SPACE_OPS
    n_nodes: int = 4
    n_cells: int = 5
    width: int = 16

    def __post_init__(self):
        check_ops(self, "ops", "n_nodes", "n_cells", "width")
        if self.n_cells < 3:
            raise ValueError(
                f"n_cells of CellSpace must be at least 3, for two reductions; got {self.n_cells}."
            )

    @property
    def default(self) -> CellArchitecture | None:
        """Separable convolutions and shortcuts of the last cell, if the space has them."""
        conv = next((op for op in ("sep_conv_3x3", "conv_3x3") if op in self.ops), None)
        if conv is None or "skip_connect" not in self.ops:
            return None
        later = ((1, "skip_connect"), (2, conv))
        cell = (((0, conv), (1, conv)), *[later] * (self.n_nodes - 1))
        return CellArchitecture(cell, cell)

    @property
    def smallest(self) -> CellArchitecture:
        """The first operation that is something, and no more of them than needed."""
        first = next(op for op in self.ops if op != "none")
        rest = "none" if "none" in self.ops else first
        cell = (((0, first), (1, first)), *[((0, rest), (1, rest))] * (self.n_nodes - 1))
        return CellArchitecture(cell, cell)

    @property
    def reductions(self) -> tuple[int, int]:
        """Which of the cells are reductions, counted from 0."""
        return self.n_cells // 3, 2 * self.n_cells // 3

    def size(self) -> int:
        """How many architectures there are, cells without a path included.

        ``(prod_i C(i + 2, 2) * n_ops^2)^2`` over the nodes ``i`` from 0, of both cells.
        """
        nodes = (math.comb(i + 2, 2) * len(self.ops) ** 2 for i in range(self.n_nodes))
        return math.prod(nodes) ** 2

    def __iter__(self) -> Iterator[CellArchitecture]:
        """All architectures, cells without a path included: for small spaces."""
        nodes = [list(self._nodes(i)) for i in range(self.n_nodes)]
        every = list(itertools.product(*nodes))
        return itertools.starmap(CellArchitecture, itertools.product(every, every))

    def sample(self, rng: np.random.Generator) -> CellArchitecture:
        """Draw each node's states and operations uniformly; again until the cell has a path."""
        return CellArchitecture(self._sample_cell(rng), self._sample_cell(rng))

    def mutate(self, architecture, rng) -> CellArchitecture:
        """Change one operation, or one state that a node takes, in one of the cells."""
        both = [architecture.normal, architecture.reduction]
        neighbours = [list(self._neighbours(cell)) for cell in both]
        filled = [i for i, cells_ in enumerate(neighbours) if cells_]
        if not filled:
            return architecture
        at = filled[rng.integers(len(filled))]
        both[at] = neighbours[at][rng.integers(len(neighbours[at]))]
        return CellArchitecture(*both)

    def crossover(self, a, b, rng) -> CellArchitecture:
        """Take each node from either parent; a cell of `a` where that leaves no path."""
        return CellArchitecture(
            self._mix(a.normal, b.normal, rng), self._mix(a.reduction, b.reduction, rng)
        )

    def encode(self, architecture) -> np.ndarray:
        """For each node and earlier state, the one-hot operation, or zeros if it is not taken."""
        codes = [self._encode_node(i, node) for cell in _both(architecture)
                 for i, node in enumerate(cell)]  # fmt: skip
        return np.concatenate(codes)

    def describe(self, architecture) -> str:
        """The architecture in words, for people."""
        lines = []
        for name, cell in zip(("normal", "reduction"), _both(architecture), strict=True):
            for i, node in enumerate(cell):
                terms = " + ".join(f"{op}({_state_name(state)})" for state, op in node)
                lines.append(f"{name}: node {i} = {terms}")
        kinds = "-".join("R" if i in self.reductions else "N" for i in range(self.n_cells))
        widths = "-".join(str(self.width * factor) for factor in (1, 2, 4))
        return "\n".join([*lines, f"{kinds} of {widths} channels a node"])

    def is_connected(self, architecture) -> bool:
        """Whether both cells have a node that depends on an input."""
        return all(_live_states(cell) - {0, 1} for cell in _both(architecture))

    def check_input(self, input_shape) -> None:
        """Refuse rows that are no images."""
        check_image("cell", input_shape)

    def build(self, architecture, input_shape, n_outputs, output_activation) -> keras.Model:
        """Return the untrained model.

        Raises
        ------
        ValueError
            If a cell has no path to its output, or an operation is unknown or does not fit.
        """
        self.check_input(input_shape)
        self._check_cells(architecture)
        named = [op for cell in _both(architecture) for node in cell for _, op in node]
        builders = op_builders(self.ops, named)

        def cell(before, last, width, strides):
            chosen = architecture.reduction if strides == 2 else architecture.normal
            return _build_cell(before, last, chosen, builders, width, strides)

        inputs = keras.Input(tuple(input_shape))
        return keras.Model(inputs, self.outputs(inputs, n_outputs, output_activation, cell))

    def supernet(self, input_shape, n_outputs, output_activation):
        """Return the `Supernet` that holds every architecture."""
        from autokit.nas.oneshot.cell import cell_supernet

        return cell_supernet(self, input_shape, n_outputs, output_activation)

    def outputs(self, inputs, n_outputs: int, output_activation: str, cell):
        """The network around the cells; `cell` is ``(before, last, width, strides) -> y``."""
        shape = tuple(inputs.shape[1:])
        x = inputs if len(shape) == 3 else keras.layers.Reshape((*shape, 1))(inputs)
        x = cells.convolution(x, 3 * self.width, 3, networks.stem_stride(shape))
        states, width = (cells.batch_norm(x),) * 2, self.width
        for i in range(self.n_cells):
            strides = 2 if i in self.reductions else 1
            width *= strides
            states = states[1], cell(*states, width, strides)
        x = keras.layers.Activation("relu")(states[1])
        x = keras.layers.GlobalAveragePooling2D()(x)
        return networks.head(x, n_outputs, output_activation)

    def _nodes(self, index: int) -> Iterator[Node]:
        for first, second in itertools.combinations(range(index + 2), 2):
            for a, b in itertools.product(tuple(self.ops), repeat=2):
                yield (first, a), (second, b)

    def _sample_cell(self, rng) -> Cell:
        names = tuple(self.ops)
        while True:
            cell = []
            for i in range(self.n_nodes):
                states = np.sort(rng.choice(i + 2, size=2, replace=False))
                ops = rng.integers(len(names), size=2)
                cell.append(tuple((int(s), names[o]) for s, o in zip(states, ops, strict=True)))
            if _live_states(cell) - {0, 1}:
                return tuple(cell)

    def _neighbours(self, cell: Cell) -> Iterator[Cell]:
        for i, node in enumerate(cell):
            taken = {state for state, _ in node}
            for at, (state, op) in enumerate(node):
                pairs = [(state, other) for other in self.ops if other != op]
                pairs += [(other, op) for other in range(i + 2) if other not in taken]
                for pair in pairs:
                    changed = tuple(sorted((pair, node[1 - at])))
                    neighbour = (*cell[:i], changed, *cell[i + 1 :])
                    if _live_states(neighbour) - {0, 1}:
                        yield neighbour

    def _mix(self, a: Cell, b: Cell, rng) -> Cell:
        picks = rng.integers(2, size=len(a))
        mixed = tuple((a, b)[p][i] for i, p in enumerate(picks))
        return mixed if _live_states(mixed) - {0, 1} else a

    def _encode_node(self, index: int, node: Node) -> np.ndarray:
        names = tuple(self.ops)
        code = np.zeros((index + 2, len(names)))
        for state, op in node:
            code[state, names.index(op)] = 1.0
        return code.ravel()

    def _check_cells(self, architecture) -> None:
        for name, cell in zip(("normal", "reduction"), _both(architecture), strict=True):
            sound = all(0 <= a < b < i + 2 for i, ((a, _), (b, _)) in enumerate(cell))
            if len(cell) != self.n_nodes or not sound:
                raise ValueError(
                    f"The {name} cell of architecture must have {self.n_nodes} nodes of two "
                    f"different earlier states, the earlier first; got {cell}."
                )
        if not self.is_connected(architecture):
            raise ValueError(
                f"architecture has a cell without a path from input to output: {architecture}. "
                "Give a node an operation other than 'none' on an input."
            )


def _both(architecture) -> tuple[Cell, Cell]:
    return architecture.normal, architecture.reduction


def _state_name(state: int) -> str:
    return f"input {state}" if state < 2 else f"node {state - 2}"


def _edges(cell: Cell) -> list[tuple[str, str, str]]:
    edges = [
        (_state_name(state), f"node {i}", op)
        for i, node in enumerate(cell)
        for state, op in node
        if op != "none"
    ]
    live = sorted(_live_states(cell) - {0, 1})
    return edges + [(_state_name(state), "output", "") for state in live]


def _live_states(cell) -> set[int]:
    """The states that depend on an input of the cell, inputs included."""
    live = {0, 1}
    for i, node in enumerate(cell):
        if any(op != "none" and state in live for state, op in node):
            live.add(i + 2)
    return live


def fitted_input(x, last, width: int):
    """A cell's input in the cell's width and the sides of the last cell's output."""
    if x.shape[1:3] != last.shape[1:3]:
        return cells.factorized_reduce(x, width)
    return cells.relu_conv_bn(x, width, kernel_size=1)


def _build_cell(before, last, cell, builders, width: int, strides: int):
    """The cell's output: (batch, side / strides, side / strides, width * nodes)."""
    live = _live_states(cell)
    used = {state for node in cell for state, op in node if op != "none"}
    states = {}
    for state, x in enumerate((before, last)):
        if state in used:
            states[state] = fitted_input(x, last, width)
    for i, node in enumerate(cell):
        terms = [
            builders[op](states[state], width, strides if state < 2 else 1)
            for state, op in node
            if op != "none" and state in live
        ]
        if terms:
            states[i + 2] = terms[0] if len(terms) == 1 else keras.layers.Add()(terms)
    outputs = [states[i] for i in sorted(live - {0, 1})]
    return outputs[0] if len(outputs) == 1 else keras.layers.Concatenate()(outputs)
