from __future__ import annotations

import itertools

import numpy as np
import pytest

from autokit._backend import keras
from autokit.layers.cells import CELL_OPS
from autokit.nas import CELL_SPACE_OPS, DARTS_OPS, CellArchitecture, CellSpace
from autokit.testing.nas import SpaceContract

SMALL = {"n_cells": 3, "width": 4, "n_nodes": 2}
SKIP = (((0, "skip_connect"), (1, "skip_connect")),)
NOTHING = (((0, "none"), (1, "none")),)


class TestCellSpace(SpaceContract):
    input_shape = (8, 8)
    n_builds = 2

    def make_space(self):
        return CellSpace(**SMALL)


class TestCellSpaceOnOddColourImages(SpaceContract):
    input_shape = (11, 9, 3)
    n_builds = 2

    def make_space(self):
        return CellSpace(DARTS_OPS, n_nodes=1, n_cells=4, width=4)


class TestCellSpaceWithoutNone(SpaceContract):
    n_builds = 1
    input_shape = (8, 8)

    def make_space(self):
        return CellSpace(("max_pool_3x3", "skip_connect"), **SMALL)


def brute_force_cells(ops, n_nodes):
    """Every cell, by filtering all tuples of pairs."""
    nodes = []
    for i in range(n_nodes):
        pairs = list(itertools.product(range(i + 2), ops))
        nodes.append([(a, b) for a, b in itertools.product(pairs, pairs) if a[0] < b[0]])
    return set(itertools.product(*nodes))


@pytest.mark.parametrize(("ops", "n_nodes"), [(("none", "skip_connect"), 2), (DARTS_OPS[:3], 1)])
def test_the_size_is_that_of_an_enumeration(ops, n_nodes):
    space = CellSpace(ops, n_nodes=n_nodes, n_cells=3)
    every = list(space)
    assert space.size() == len(every) == len(set(every))
    cells = brute_force_cells(ops, n_nodes)
    assert {a.normal for a in every} == {a.reduction for a in every} == cells
    assert space.size() == len(cells) ** 2


def test_the_size_of_the_published_space():
    # Liu et al. 2019, section 3.1: prod_k k(k+1)/2 * 7^2 over 4 nodes, ops without "none"
    per_cell = np.prod([k * (k + 1) // 2 * 7**2 for k in (1, 2, 3, 4)])
    assert CellSpace(DARTS_OPS[1:]).size() == int(per_cell) ** 2


def test_sampled_cells_are_connected_and_all_of_the_connected_are_sampled():
    space = CellSpace(("none", "skip_connect"), n_nodes=1, n_cells=3)
    rng = np.random.default_rng(0)
    sampled = {space.sample(rng) for _ in range(300)}
    assert sampled == {a for a in space if space.is_connected(a)}
    assert len(sampled) == 9
    first = space.sample(rng)
    mutants = {space.mutate(first, rng) for _ in range(100)}
    mixed = {space.crossover(a, b, rng) for a in sampled for b in sampled}
    assert mutants | mixed <= sampled


def test_a_mutation_is_one_small_change():
    space, rng = CellSpace(), np.random.default_rng(0)
    for _ in range(100):
        a = space.sample(rng)
        b = space.mutate(a, rng)
        pairs = [
            (p, q)
            for x, y in ((a.normal, b.normal), (a.reduction, b.reduction))
            for n, m in zip(x, y, strict=True)
            for p, q in ((set(n) - set(m), set(m) - set(n)),)
            if p
        ]
        assert len(pairs) == 1
        ((state, op),), ((other, changed),) = pairs[0]
        assert (state == other) != (op == changed)


def test_reductions_halve_the_sides_and_double_the_width():
    space = CellSpace(n_nodes=3, n_cells=6, width=4)
    model = space.build(space.default, (16, 16), 2, "softmax")
    outputs = [x for x in model.layers if isinstance(x, keras.layers.Concatenate)]
    shapes = [tuple(x.output.shape[1:]) for x in outputs if x.output.shape[-1] % 3 == 0]
    assert shapes == [(16, 16, 12)] * 2 + [(8, 8, 24)] * 2 + [(4, 4, 48)] * 2


def test_a_node_is_the_sum_of_its_two_states():
    space = CellSpace(("skip_connect",), n_nodes=1, n_cells=3, width=4)
    model = space.build(CellArchitecture(SKIP, SKIP), (8, 8), 2, "linear")
    add = next(x for x in model.layers if isinstance(x, keras.layers.Add))
    part = keras.Model(model.input, [*add.input, add.output])
    a, b, total = part(np.random.default_rng(0).normal(size=(2, 8, 8)).astype("float32"))
    np.testing.assert_allclose(total, np.asarray(a) + np.asarray(b), rtol=1e-5)
    assert np.abs(np.asarray(a) - np.asarray(b)).max() > 0.1


def test_the_shifted_half_of_a_reduction_sees_the_pixels_that_the_other_skips():
    for side in (4, 5):
        inputs = keras.Input((side, side, 1))
        model = keras.Model(inputs, CELL_OPS["skip_connect"](inputs, 2, 2))
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D):
                layer.set_weights([np.ones((1, 1, 1, 1), "float32")])
        rows = np.arange(1, side**2 + 1, dtype="float32").reshape(1, side, side, 1)
        first, second = np.moveaxis(np.asarray(model(rows, training=False))[0], -1, 0)
        scale = np.sqrt(1 + 1e-3)
        np.testing.assert_allclose(first * scale, rows[0, ::2, ::2, 0], rtol=1e-5)
        shifted = np.pad(rows[0, 1::2, 1::2, 0], (0, side % 2))
        np.testing.assert_allclose(second * scale, shifted, rtol=1e-5)


def test_a_cell_without_a_path_is_refused():
    space = CellSpace(n_nodes=1, n_cells=3)
    with pytest.raises(ValueError, match="without a path from input to output") as caught:
        space.build(CellArchitecture(SKIP, NOTHING), (8, 8), 2, "softmax")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cell",
    [
        SKIP * 2,
        (((0, "skip_connect"), (2, "skip_connect")),),
        (((1, "skip_connect"), (1, "skip_connect")),),
    ],
)
def test_a_cell_that_is_none_of_the_space_is_refused(cell):
    with pytest.raises(ValueError, match="reduction cell of architecture must have 1 nodes"):
        CellSpace(n_nodes=1).build(CellArchitecture(SKIP, cell), (8, 8), 2, "softmax")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ops": ("sep_conv",)}, "'ops' parameter must be one of .*Did you mean 'sep_conv_"),
        ({"ops": ()}, "ops of CellSpace must hold at least one operation"),
        ({"n_nodes": 0}, "n_nodes of CellSpace must be an int >= 1; got 0"),
        ({"n_cells": 2}, "n_cells of CellSpace must be at least 3"),
    ],
)
def test_bad_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        CellSpace(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(64,), (7, 7), (8, 8, 3, 1)])
def test_rows_that_are_no_images_are_refused(shape):
    with pytest.raises(ValueError, match="'cell', which takes images.*reshape X"):
        CellSpace().check_input(shape)


def test_an_op_that_does_not_fit_the_input_is_named():
    def never_strided(x, width, strides):
        return keras.layers.Conv2D(width, 3, padding="same")(x)

    space = CellSpace({"mine": never_strided}, n_nodes=1, n_cells=3)
    with pytest.raises(ValueError, match="op 'mine' does not fit the input.*strides=2"):
        space.build(space.sample(np.random.default_rng(0)), (8, 8), 2, "softmax")


def test_an_op_of_ones_own_is_built():
    def scaled(x, width, strides):
        x = keras.layers.MaxPooling2D(1, strides, padding="same")(x)
        return keras.layers.Rescaling(2.0, name=None)(x)

    ops = {**{name: CELL_OPS[name] for name in CELL_SPACE_OPS}, "scaled": scaled}
    space = CellSpace(ops, n_nodes=1, n_cells=3, width=4)
    mine = (((0, "scaled"), (1, "scaled")),)
    model = space.build(CellArchitecture(mine, mine), (8, 8), 2, "softmax")
    assert sum(isinstance(x, keras.layers.Rescaling) for x in model.layers) == 6
