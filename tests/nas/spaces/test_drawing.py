from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from autokit.nas import CellSpace, NB201Architecture, NB201Space, plot_cell


def texts(axes):
    return sorted(text.get_text() for text in axes.texts if text.get_text())


def test_a_cell_shows_its_states_and_operations(tmp_path):
    architecture = NB201Space().default
    figure = plot_cell(architecture, tmp_path / "cell.png")
    assert (tmp_path / "cell.png").read_bytes()[:4] == b"\x89PNG"
    (axes,) = figure.axes
    states = ["input", "node 1", "node 2", "output"]
    assert texts(axes) == sorted([*states, *(op for op in architecture.ops if op != "none")])


def test_both_cells_are_drawn():
    architecture = CellSpace(n_nodes=2).sample(np.random.default_rng(0))
    figure = plot_cell(architecture)
    assert [axes.get_title() for axes in figure.axes] == ["normal", "reduction"]
    for axes, edges in zip(figure.axes, architecture.graphs.values(), strict=True):
        assert len(axes.patches) == len(edges)


def test_arcs_that_start_together_end_apart():
    architecture = NB201Architecture(("skip_connect",) * 6)
    (axes,) = plot_cell(architecture).axes
    labels = {(t.get_position()) for t in axes.texts if t.get_text() == "skip_connect"}
    assert len(labels) == 6


def test_an_empty_cell_says_so():
    (axes,) = plot_cell(NB201Architecture(("none",) * 6)).axes
    assert texts(axes) == ["no operation but none"]


def test_what_has_no_graphs_is_refused():
    with pytest.raises(TypeError, match="architecture must have graphs"):
        plot_cell((1, 2))

    @dataclass(frozen=True)
    class Circular:
        graphs = {"cell": [("a", "b", "x"), ("b", "a", "y")]}  # noqa: RUF012

    with pytest.raises(ValueError, match="without cycles"):
        plot_cell(Circular())
