"""The space of NAS-Bench-201, and its networks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from autokit._backend import keras
from autokit.layers import cells, networks
from autokit.nas.spaces.ops import check_image, check_ops, op_builders

NB201_OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(from, to) of the six decisions, in the order of the `arch_str`."""

_ZEROS_OF_ZEROS = ("skip_connect", "avg_pool_3x3", "max_pool_3x3")

_ARCH_STR = re.compile(
    r"\|([^|~]+)~0\|\+\|([^|~]+)~0\|([^|~]+)~1\|\+\|([^|~]+)~0\|([^|~]+)~1\|([^|~]+)~2\|"
)


@dataclass(frozen=True)
class NB201Architecture:
    """One cell: an operation on each of the edges 1<-0, 2<-0, 2<-1, 3<-0, 3<-1, 3<-2.

    Node 0 is the cell's input, node 3 its output, a node the sum of what its edges bring.

    Parameters
    ----------
    ops : tuple of 6 str
    """

    ops: tuple[str, ...]

    @property
    def arch_str(self) -> str:
        """The cell as NAS-Bench-201 writes it.

        Examples
        --------
        >>> NB201Architecture(("none",) * 6).arch_str
        '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'
        """
        edges = dict(zip(EDGES, self.ops, strict=True))
        nodes = ("|".join(f"{edges[i, node]}~{i}" for i in range(node)) for node in (1, 2, 3))
        return "+".join(f"|{node}|" for node in nodes)

    @classmethod
    def from_arch_str(cls, text: str) -> NB201Architecture:
        """Read what `arch_str` writes.

        Raises
        ------
        ValueError
            If `text` is nothing of the kind.
        """
        match = _ARCH_STR.fullmatch(str(text).strip())
        if match is None:
            raise ValueError(
                f"text must look like '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|'; got {text!r}."
            )
        return cls(match.groups())

    @property
    def graphs(self) -> dict[str, list[tuple[str, str, str]]]:
        """Edges (from, to, operation) of the cell by its name, "none" left out."""
        names = ("input", "node 1", "node 2", "output")
        edges = zip(EDGES, self.ops, strict=True)
        return {"cell": [(names[a], names[b], op) for (a, b), op in edges if op != "none"]}


@dataclass(frozen=True)
class NB201Space:
    """Cells of four nodes with an operation on each of the six edges between them.

    The network around the cell is the benchmark's: a stem (3x3 convolution, batch norm), three
    stages of `n_cells` cells with `width`, twice and four times as many channels, residual blocks
    of stride 2 between them, then batch norm, ReLU, global average pooling and the output layer.
    For rows of 32x32x3 and 10 classes its trainable weights are the column ``params`` of the
    benchmark's table, and `autokit.nas.hardware.count_macs` the column ``flops``: multiplications
    with addition of convolutions and of the output layer, and one for each bias.

    An operation that the cell's output does not depend on has weights in the benchmark, and
    counts. It is built here too, unless `trim` is set: one cell in four has a convolution of that
    kind, whose time a deployed model need not spend.

    Images of 64 pixels and more get a strided stem, as in `autokit.layers.cnn`.

    Parameters
    ----------
    ops : tuple of str, or mapping of str to callable, default=NB201_OPS
        Names of `autokit.layers.cells.CELL_OPS`, or functions ``(x, width, strides) -> y`` by
        name.
    n_cells : int, default=5
        Of each stage.
    width : int, default=16
        Channels of the first stage.
    connected_only : bool, default=True
        Whether `sample`, `mutate` and `crossover` avoid the cells without a path from input to
        output, 341 of 15,625. Such a cell can be written, read, encoded and built all
        the same: its output is zero.
    trim : bool, default=False
        Whether `build` leaves out operations without effect on the cell's output.

    Raises
    ------
    ValueError
        If an operation is unknown, or a number is no positive int.

    References
    ----------
    Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search",
    2020, section 2.

    Examples
    --------
    >>> from autokit.nas import NB201Space
    >>> space = NB201Space(n_cells=1)
    >>> space.size()
    15625
    >>> space.default.arch_str
    '|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|'
    """

    ops: tuple[str, ...] | Mapping[str, cells.CellOp] = NB201_OPS
    n_cells: int = 5
    width: int = 16
    connected_only: bool = True
    trim: bool = False

    def __post_init__(self):
        check_ops(self, "ops", "n_cells", "width")

    @property
    def default(self) -> NB201Architecture | None:
        """The residual block of two convolutions, if the space has its operations."""
        block = ("nor_conv_3x3", "none", "nor_conv_3x3", "skip_connect", "none", "skip_connect")
        return NB201Architecture(block) if {*block} <= {*self.ops} else None

    @property
    def smallest(self) -> NB201Architecture | None:
        """The first operation alone between input and output, if the space has "none"."""
        if "none" not in self.ops:
            return None
        first = next(op for op in self.ops if op != "none")
        return NB201Architecture(("none", "none", "none", first, "none", "none"))

    def size(self) -> int:
        """How many architectures there are, cells without a path included."""
        return len(self.ops) ** len(EDGES)

    def __iter__(self) -> Iterator[NB201Architecture]:
        """All architectures, cells without a path included."""
        return map(NB201Architecture, itertools.product(tuple(self.ops), repeat=len(EDGES)))

    def sample(self, rng: np.random.Generator) -> NB201Architecture:
        """Draw the operation of each edge uniformly, again until there is a path."""
        names = tuple(self.ops)
        while True:
            picks = rng.integers(len(names), size=len(EDGES))
            architecture = NB201Architecture(tuple(names[i] for i in picks))
            if self._may_propose(architecture):
                return architecture

    def mutate(self, architecture, rng) -> NB201Architecture:
        """Change the operation of one edge, drawn uniformly among the changes that keep a path."""
        ops = architecture.ops
        changes = [(at, op) for at in range(len(EDGES)) for op in self.ops if op != ops[at]]
        for i in rng.permutation(len(changes)):
            at, op = changes[i]
            neighbour = NB201Architecture((*ops[:at], op, *ops[at + 1 :]))
            if self._may_propose(neighbour):
                return neighbour
        return architecture

    def crossover(self, a, b, rng) -> NB201Architecture:
        """Take the operation of each edge from either parent; `a` itself if that has no path."""
        picks = rng.integers(2, size=len(EDGES))
        child = NB201Architecture(tuple((a, b)[p].ops[i] for i, p in enumerate(picks)))
        return child if self._may_propose(child) else a

    def encode(self, architecture) -> np.ndarray:
        """One-hot codes of the operations, edge after edge."""
        names = tuple(self.ops)
        code = np.zeros((len(EDGES), len(names)))
        for row, op in zip(code, architecture.ops, strict=True):
            row[names.index(op)] = 1.0
        return code.ravel()

    def describe(self, architecture) -> str:
        """The architecture in words, for people."""
        by_node: dict[str, list[str]] = {"node 1": [], "node 2": [], "output": []}
        for source, target, op in architecture.graphs["cell"]:
            by_node[target].append(f"{op}({source})")
        lines = [f"{node} = {' + '.join(terms) or '0'}" for node, terms in by_node.items()]
        stages = "-".join(str(self.width * 2**i) for i in range(3))
        lines.append(f"in 3 stages of {self.n_cells} cells with {stages} channels")
        return "\n".join(lines)

    def is_connected(self, architecture) -> bool:
        """Whether the cell's output depends on its input."""
        return 0 in _ancestors_of_output(architecture.ops)

    def simplified(self, architecture) -> NB201Architecture:
        """The cell with "none" wherever an operation does not lead to the output."""
        if "none" not in self.ops:
            return architecture
        leading = _ancestors_of_output(architecture.ops)
        edges = zip(EDGES, architecture.ops, strict=True)
        return NB201Architecture(tuple(op if b in leading else "none" for (_, b), op in edges))

    def check_input(self, input_shape) -> None:
        """Refuse rows that are no images."""
        check_image("nb201", input_shape)

    def build(self, architecture, input_shape, n_outputs, output_activation) -> keras.Model:
        """Return the untrained model."""
        self.check_input(input_shape)
        builders = op_builders(self.ops, architecture.ops)

        def cell(x, width):
            return self._cell(x, architecture.ops, builders, width)

        inputs = keras.Input(tuple(input_shape))
        return keras.Model(inputs, self.outputs(inputs, n_outputs, output_activation, cell))

    def supernet(self, input_shape, n_outputs, output_activation):
        """Return the `Supernet` that holds every architecture."""
        from autokit.nas.oneshot.nb201 import nb201_supernet

        return nb201_supernet(self, input_shape, n_outputs, output_activation)

    def outputs(self, inputs, n_outputs: int, output_activation: str, cell):
        """The network around the cells, from inputs to outputs; `cell` is ``(x, width) -> y``."""
        shape = tuple(inputs.shape[1:])
        x = inputs if len(shape) == 3 else keras.layers.Reshape((*shape, 1))(inputs)
        x = cells.batch_norm(cells.convolution(x, self.width, 3, networks.stem_stride(shape)))
        for stage in range(3):
            width = self.width * 2**stage
            if stage > 0:
                x = _reduction(x, width)
            for _ in range(self.n_cells):
                x = cell(x, width)
        x = keras.layers.Activation("relu")(cells.batch_norm(x))
        x = keras.layers.GlobalAveragePooling2D()(x)
        return networks.head(x, n_outputs, output_activation)

    def _may_propose(self, architecture) -> bool:
        return not self.connected_only or self.is_connected(architecture)

    def _cell(self, x, ops, builders, width):
        live = _useful_edges(ops) if self.trim else set(EDGES)
        states, loose = {0: x}, set()
        for node in (1, 2, 3):
            terms = []
            for (source, target), op in zip(EDGES, ops, strict=True):
                if target != node or op == "none" or (source, target) not in live:
                    continue
                if source not in states and op in _ZEROS_OF_ZEROS:
                    continue
                state = states[source] if source in states else cells.zeros_like(x)
                terms.append(builders[op](state, width, 1))
                loose.discard(source)
            if node == 3:
                # nothing of them, but they are in the network and have their weights
                terms += [cells.zeros_like(states[i]) for i in sorted(loose)]
            if terms:
                states[node] = terms[0] if len(terms) == 1 else keras.layers.Add()(terms)
                loose.add(node)
        return states[3] if 3 in states else cells.zeros_like(x)


def _reduction(x, width: int):
    """The residual block of stride 2 between two stages."""
    h = cells.relu_conv_bn(x, width, 2, kernel_size=3)
    h = cells.relu_conv_bn(h, width, kernel_size=3)
    shortcut = keras.layers.AveragePooling2D(2, 2, padding="same")(x)
    return keras.layers.Add()([h, cells.convolution(shortcut, width, 1)])


def _ancestors_of_output(ops) -> set[int]:
    edges = [edge for edge, op in zip(EDGES, ops, strict=True) if op != "none"]
    reached = {3}
    for source, target in sorted(edges, key=lambda edge: -edge[1]):
        if target in reached:
            reached.add(source)
    return reached


def _useful_edges(ops) -> set[tuple[int, int]]:
    """The edges on a path from the input to the output."""
    backward, forward = _ancestors_of_output(ops), {0}
    edges = [edge for edge, op in zip(EDGES, ops, strict=True) if op != "none"]
    for source, target in edges:
        if source in forward:
            forward.add(target)
    return {(a, b) for a, b in edges if a in forward and b in backward}
