"""Cells as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

Edge = tuple[str, str, str]

# in inches: between states, half a box, above the boxes for each column that an arc spans
_COLUMN, _HALF_BOX, _RISE = 1.5, 0.36, 0.42
_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown",
            "tab:pink", "tab:olive", "tab:cyan", "tab:gray")  # fmt: skip


def plot_cell(architecture: Any, path=None) -> matplotlib.figure.Figure:
    """Draw the cells of an architecture as graphs: states as boxes, operations as arcs.

    The states stand in the order of computation. What only copies, as a cell's nodes into its
    output, is drawn below them.

    Parameters
    ----------
    architecture : CellArchitecture, NB201Architecture or any with ``graphs``
        ``graphs`` is a dict from the name of a cell to its edges ``(from, to, operation)``, each
        state named; the operation is an empty text for a copy.
    path : str, path-like or None, default=None
        Where to save the picture; its ending names the format.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If the architecture has no ``graphs``.
    """
    from matplotlib.figure import Figure

    graphs = getattr(architecture, "graphs", None)
    if graphs is None:
        raise TypeError(
            f"architecture must have graphs, edges by the name of a cell, to be drawn; got "
            f"{type(architecture).__name__}."
        )
    ops = sorted({op for edges in graphs.values() for *_, op in edges if op})
    colours = {op: _COLOURS[i % len(_COLOURS)] for i, op in enumerate(ops)}
    orders = {name: _order(edges) for name, edges in graphs.items()}
    heights = [
        _heights(edges, order)
        for edges, order in zip(graphs.values(), orders.values(), strict=True)
    ]
    figure = Figure(
        figsize=(
            _COLUMN * max(2, *map(len, orders.values())),
            sum(above + below + 0.9 for above, below in heights),
        ),
        layout="constrained",
    )
    all_axes = figure.subplots(
        len(graphs), squeeze=False, height_ratios=[above + below for above, below in heights]
    )[:, 0]
    for axes, (name, edges), (above, below) in zip(all_axes, graphs.items(), heights, strict=True):
        axes.set_title(name)
        axes.set_aspect("equal")
        axes.axis("off")
        axes.set_xlim(-_COLUMN / 2, _COLUMN * (max(1, len(orders[name])) - 0.5))
        axes.set_ylim(-below, above)
        _draw(axes, edges, orders[name], colours)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _order(edges: Sequence[Edge]) -> list[str]:
    """The states in an order of computation, those without inputs first, by name."""
    left = {state for edge in edges for state in edge[:2]}
    order: list[str] = []
    while left:
        ready = [s for s in left if not any(t == s and f in left for f, t, _ in edges)]
        if not ready:
            raise ValueError(f"graphs of architecture must be without cycles; got {edges}.")
        order.append(min(ready, key=lambda s: (any(t == s for _, t, _ in edges), s)))
        left.remove(order[-1])
    return order


def _heights(edges, order) -> tuple[float, float]:
    """Room above and below the boxes."""
    spans = {True: [0], False: [0]}
    for source, target, op in edges:
        spans[bool(op)].append(order.index(target) - order.index(source))
    return tuple(0.3 + _RISE * max(spans[side]) ** 0.8 for side in (True, False))


def _draw(axes: matplotlib.axes.Axes, edges, order, colours) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    if not order:
        axes.text(0.5, 0.5, "no operation but none", ha="center", transform=axes.transAxes)
    column = {state: i for i, state in enumerate(order)}
    spans = [column[target] - column[source] for source, target, _ in edges]
    for (source, target, op), span in zip(edges, spans, strict=True):
        side = 1 if op else -1
        x0 = _COLUMN * column[source] + _port(edges, column, source, target, op, leaves=True)
        x1 = _COLUMN * column[target] + _port(edges, column, target, source, op, leaves=False)
        rise = side * _RISE * span**0.8
        y = side * 0.16
        # the apex of a cubic curve with level control points is 3/4 of their height
        curve = [(x0, y), (x0, y + rise * 4 / 3), (x1, y + rise * 4 / 3), (x1, y)]
        colour = colours.get(op, "darkgray")
        path = Path(curve, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
        axes.add_patch(
            FancyArrowPatch(
                path=path, arrowstyle="-|>", mutation_scale=10, color=colour, linewidth=1.3
            )
        )
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
        axes.text(
            (x0 + x1) / 2, y + rise, op, ha="center", va="center", fontsize=8, color=colour,
            bbox=box if op else None, zorder=3,
        )  # fmt: skip
    for state, i in column.items():
        box = {"boxstyle": "round,pad=0.35", "facecolor": "whitesmoke", "edgecolor": "black"}
        axes.text(i * _COLUMN, 0, state, ha="center", va="center", fontsize=9, bbox=box, zorder=4)


def _port(edges, column, state, other, op, *, leaves: bool) -> float:
    """Where an arc meets a box: from its middle outwards by the length of the arc."""
    at = 0 if leaves else 1
    others = {e[1 - at] for e in edges if e[at] == state and bool(e[2]) == bool(op)}
    ranked = sorted(others, key=column.get, reverse=True)
    share = (ranked.index(other) + 1) / (len(ranked) + 1)
    return _HALF_BOX * share if leaves else _HALF_BOX * (share - 1)
