from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import keras
from autokit.layers.cells import CELL_OPS
from autokit.nas import NB201_OPS, NB201Architecture, NB201Space
from autokit.nas.hardware import count_macs
from autokit.testing.nas import SpaceContract

# arch_str, params, flops of NAS-Bench-201's table for CIFAR-10 (NATS-Bench, MIT licence)
ROWS = [
    ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", 73306, 7783050),
    ("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|", 316346, 43172490),
    ("|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|", 73306, 7783050),
    (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
        "|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        129306,
        15647370,
    ),
    (
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+"
        "|skip_connect~0|nor_conv_3x3~1|skip_connect~2|",
        802426,
        113951370,
    ),
]
BROKEN = NB201Architecture.from_arch_str(ROWS[1][0])


def trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


class TestNB201Space(SpaceContract):
    input_shape = (8, 8)
    n_builds = 2

    def make_space(self):
        return NB201Space(n_cells=1, width=4)


class TestNB201SpaceWithOpsOfItsOwn(SpaceContract):
    input_shape = (9, 11, 3)
    n_builds = 2

    def make_space(self):
        def swish_gate(x, width, strides):
            return keras.layers.Multiply()([x, keras.layers.Activation("sigmoid")(x)])

        ops = {"none": CELL_OPS["none"], "gate": swish_gate, "conv": CELL_OPS["conv_1x1"]}
        return NB201Space(ops, n_cells=1, width=4, trim=True)


@pytest.mark.parametrize(("text", "params", "flops"), ROWS)
def test_networks_have_the_tables_parameters_and_flops(text, params, flops):
    architecture = NB201Architecture.from_arch_str(text)
    model = NB201Space().build(architecture, (32, 32, 3), 10, "softmax")
    assert trainable(model) == params
    assert count_macs(model) == flops


def test_every_architecture_is_told_apart_and_read_back():
    architectures = list(NB201Space())
    assert len(architectures) == NB201Space().size() == 15625
    texts = {a.arch_str for a in architectures}
    assert len(texts) == 15625
    assert all(NB201Architecture.from_arch_str(a.arch_str) == a for a in architectures[::500])


@pytest.mark.parametrize("text", ["", "|a~0|", "|a~0|+|a~0|a~1|+|a~0|a~1|a~1|", None])
def test_a_text_that_is_no_cell_is_refused(text):
    with pytest.raises(ValueError, match=r"text must look like .*\|op~0\|") as caught:
        NB201Architecture.from_arch_str(text)
    assert "\n" not in str(caught.value)


def brute_force_connected(architecture):
    ops = architecture.ops
    return any(all(ops[i] != "none" for i in path) for path in ((3,), (0, 4), (1, 5), (0, 2, 5)))


def test_a_cell_is_connected_if_one_of_the_four_paths_is_free():
    space = NB201Space()
    assert all(space.is_connected(a) == brute_force_connected(a) for a in space)
    assert sum(not space.is_connected(a) for a in space) == 341


def test_proposals_have_a_path_unless_asked_otherwise():
    rng, space = np.random.default_rng(0), NB201Space(("none", "skip_connect"))
    anything = NB201Space(("none", "skip_connect"), connected_only=False)
    pairs = zip([space.sample(rng) for _ in range(100)], list(space) * 2, strict=False)
    proposals = [x for a, b in pairs for x in (a, space.mutate(b, rng), space.crossover(a, a, rng))]
    assert all(map(space.is_connected, proposals))
    assert not all(space.is_connected(anything.sample(rng)) for _ in range(100))


def test_crossover_of_connected_cells_is_connected():
    rng, space = np.random.default_rng(0), NB201Space(("none", "skip_connect"))
    parents = [space.sample(rng) for _ in range(200)]
    children = [space.crossover(a, b, rng) for a, b in zip(parents, parents[1:], strict=False)]
    assert all(map(space.is_connected, children))


@pytest.mark.parametrize("trim", [False, True])
def test_a_cell_without_a_path_answers_the_same_to_everything(trim):
    space = NB201Space(n_cells=1, width=4, trim=trim)
    zero = NB201Architecture(("none",) * 6)
    rows = np.random.default_rng(0).normal(size=(3, 8, 8)).astype("float32")
    # the shortcut of a reduction takes zeros too: what remains is the bias of the output
    for architecture in (zero, BROKEN):
        answers = np.asarray(space.build(architecture, (8, 8), 2, "softmax")(rows))
        np.testing.assert_allclose(answers, 0.5, atol=1e-6)


def test_trimming_changes_the_weights_but_not_the_answers():
    # 1<-0 leads nowhere, 3<-2 comes from nowhere
    dead = NB201Architecture(
        ("nor_conv_3x3", "none", "none", "skip_connect", "none", "nor_conv_1x1")
    )
    plain = NB201Architecture(("none", "none", "none", "skip_connect", "none", "none"))
    full, trimmed, bare = (
        NB201Space(n_cells=1, width=4, trim=trim).build(architecture, (8, 8), 2, "softmax")
        for architecture, trim in ((dead, False), (dead, True), (plain, False))
    )
    assert trainable(full) == trainable(bare) + sum(10 * w * w + 4 * w for w in (4, 8, 16))
    assert trainable(trimmed) == trainable(bare)
    bare.set_weights(trimmed.get_weights())
    rows = np.random.default_rng(0).normal(size=(3, 8, 8)).astype("float32")
    np.testing.assert_allclose(trimmed(rows), bare(rows), atol=1e-6)


def test_a_node_is_the_sum_of_what_its_edges_bring():
    space = NB201Space(n_cells=1, width=4)
    skips = NB201Architecture(("skip_connect",) * 6)
    model = space.build(skips, (8, 8), 2, "linear")
    stem = next(layer for layer in model.layers if "batch_norm" in layer.name)
    cell = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)][1]
    part = keras.Model(model.input, [stem.output, cell.output])
    x, y = part(np.random.default_rng(0).normal(size=(1, 8, 8)).astype("float32"))
    np.testing.assert_allclose(y, 4 * np.asarray(x), rtol=1e-5)  # four paths


def test_describe_tells_each_node():
    text = NB201Space().describe(NB201Space().default)
    assert text.splitlines()[1] == "node 2 = nor_conv_3x3(node 1)"
    assert "16-32-64" in text


@pytest.mark.parametrize("shape", [(64,), (7, 7), (8, 8, 3, 1)])
def test_rows_that_are_no_images_are_refused(shape):
    with pytest.raises(ValueError, match="'nb201', which takes images.*reshape X") as caught:
        NB201Space().check_input(shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ops": ("none", "conv_3x")}, "'ops' parameter must be one of .*Did you mean 'conv_3x3'"),
        ({"ops": ("none",)}, "at least one operation other than 'none'"),
        ({"ops": ("conv_3x3", "conv_3x3")}, "each once"),
        ({"n_cells": 0}, "n_cells of NB201Space must be an int >= 1; got 0"),
        ({"width": 4.0}, "width of NB201Space must be an int >= 1; got 4.0"),
    ],
)
def test_bad_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        NB201Space(**options)
    assert "\n" not in str(caught.value)


def test_an_op_that_does_not_fit_the_input_is_named():
    def valid_only(x, width, strides):
        return keras.layers.Conv2D(width, 3, strides=strides)(x)

    space = NB201Space({"valid": valid_only}, n_cells=1)
    with pytest.raises(ValueError, match=r"op 'valid' does not fit the input: from \(None, 8, 8"):
        space.build(space.sample(np.random.default_rng(0)), (8, 8), 2, "softmax")


def test_an_op_that_the_space_lacks_is_named():
    space = NB201Space(("none", "skip_connect"), n_cells=1)
    foreign = NB201Architecture(("nor_conv_3x3",) * 6)
    with pytest.raises(ValueError, match="must be one of 'none', 'skip_connect'"):
        space.build(foreign, (8, 8), 2, "softmax")
    assert space.default is None
    assert NB201Space(NB201_OPS).smallest.ops[3] == "skip_connect"


@pytest.mark.parametrize(
    ("arch_str", "simpler"),
    [
        (
            "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|none~1|none~2|",
            "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
        ),
        (
            "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_3x3~0|skip_connect~1|none~2|",
            "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_3x3~0|skip_connect~1|none~2|",
        ),
        (ROWS[4][0], ROWS[4][0]),
    ],
)
def test_simplified_cells_lose_what_does_not_lead_to_the_output(arch_str, simpler):
    simplified = NB201Space().simplified(NB201Architecture.from_arch_str(arch_str))
    assert simplified.arch_str == simpler
    assert NB201Space().simplified(simplified) == simplified
