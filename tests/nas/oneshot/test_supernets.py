from __future__ import annotations

import numpy as np
import pytest

from autokit._backend import tf
from autokit.nas import CellArchitecture, CellSpace, NB201Architecture, NB201Space

OPS = ("none", "skip_connect", "conv_3x3", "max_pool_3x3")
X = np.random.default_rng(0).normal(size=(4, 8, 8)).astype("float32")

SPACES = {
    "cell": CellSpace(ops=OPS, n_nodes=2, n_cells=3, width=4),
    "nb201": NB201Space(ops=OPS, n_cells=1, width=4),
}
# all nodes are alive and every operation is there
CHILDREN = {
    "cell": CellArchitecture(
        normal=(
            ((0, "conv_3x3"), (1, "skip_connect")),
            ((1, "max_pool_3x3"), (2, "conv_3x3")),
        ),
        reduction=(
            ((0, "skip_connect"), (1, "conv_3x3")),
            ((0, "max_pool_3x3"), (2, "skip_connect")),
        ),
    ),
    "nb201": NB201Architecture(
        ("conv_3x3", "skip_connect", "max_pool_3x3", "none", "conv_3x3", "skip_connect")
    ),
}


@pytest.fixture(scope="module", params=SPACES)
def named(request):
    space = SPACES[request.param]
    return request.param, space, space.supernet((8, 8), 3, "softmax")


def filled(model):
    """Weights that depend on nothing but the shape, so that two models have the same."""
    for variable in model.trainable_variables:
        seed = [len(variable.shape), *variable.shape]
        variable.assign(np.random.default_rng(seed).normal(scale=0.3, size=variable.shape))
    return model


def test_a_one_hot_mixture_is_the_child_with_the_same_weights(named):
    name, space, net = named
    filled(net.model)
    architecture = CHILDREN[name]
    child = filled(space.build(architecture, (8, 8), 3, "softmax"))
    expected = child(X, training=True)
    mixed = net.model([X, net.one_hot(architecture)], training=True)
    np.testing.assert_allclose(mixed, expected, rtol=1e-4, atol=1e-5)
    single = net.single([X, net.choices(architecture)], training=True)
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-5)
    other = space.mutate(architecture, np.random.default_rng(0))
    assert np.abs(net.model([X, net.one_hot(other)], training=True) - expected).max() > 1e-4


def test_decisions_edges_and_architectures_agree(named):
    name, space, net = named
    rng = np.random.default_rng(1)
    drawn = np.array([[rng.integers(n) for n in net.options] for _ in range(30)], "int32")
    routes = net.route(tf.constant(drawn)).numpy()
    for decisions, route in zip(drawn, routes, strict=True):
        architecture = net.architecture(decisions)
        assert len(space.encode(architecture)) == len(space.encode(CHILDREN[name]))
        np.testing.assert_array_equal(net.choices(architecture), route)
    assert len({net.architecture(d) for d in drawn}) > 20


def test_a_one_hot_mixture_is_discretised_to_its_architecture(named):
    name, _, net = named
    assert net.discretise(net.one_hot(CHILDREN[name])) == CHILDREN[name]


def test_both_models_share_their_weights(named):
    net = named[2]
    assert [v.path for v in net.model.variables] == [v.path for v in net.single.variables]
    assert len(net.edge_names) == net.n_edges == len(set(net.edge_names))


def test_only_the_operations_scales_are_held(named):
    net = named[2]
    held = [net.model.trainable_variables[i] for i in sorted(net.scales)]
    assert {v.name for v in held} == {"gamma", "beta"}
    everything = [v for v in net.model.trainable_variables if v.name in ("gamma", "beta")]
    assert 0 < len(held) < len(everything)  # those of the stem and of the inputs are free


def test_counts_and_skip_share():
    net = SPACES["nb201"].supernet((8, 8), 3, "softmax")
    assert net.counts(CHILDREN["nb201"]) == {
        "none": 1, "skip_connect": 2, "conv_3x3": 2, "max_pool_3x3": 1,
    }  # fmt: skip
    assert net.skip_share(CHILDREN["nb201"]) == pytest.approx(2 / 5)
    assert net.skip_share(NB201Architecture(("none",) * 6)) == 0.0


class TestDiscretise:
    def test_nb201_takes_the_strongest_of_each_edge(self):
        net = SPACES["nb201"].supernet((8, 8), 3, "softmax")
        mixture = np.full((6, 4), 0.1)
        for edge, place in enumerate((2, 0, 3, 1, 2, 2)):
            mixture[edge, place] = 0.7
        assert net.discretise(mixture) == NB201Architecture(
            ("conv_3x3", "none", "max_pool_3x3", "skip_connect", "conv_3x3", "conv_3x3")
        )

    def test_nb201_without_any_path_leaves_none_out(self):
        net = SPACES["nb201"].supernet((8, 8), 3, "softmax")
        mixture = np.tile([0.6, 0.1, 0.2, 0.1], (6, 1))
        assert net.discretise(mixture) == NB201Architecture(("conv_3x3",) * 6)

    def test_cell_takes_the_two_strongest_edges_none_apart(self):
        net = SPACES["cell"].supernet((8, 8), 3, "softmax")
        mixture = np.full((10, 4), 0.1)
        mixture[0] = [0.9, 0.0, 0.0, 0.1]  # strong in "none" only
        mixture[1] = [0.0, 0.4, 0.3, 0.3]
        mixture[2] = [0.0, 0.5, 0.3, 0.2]  # node 1: the three edges by their strongest
        mixture[3] = [0.5, 0.2, 0.3, 0.0]
        mixture[4] = [0.1, 0.0, 0.2, 0.7]
        found = net.discretise(mixture)
        assert found.normal == (
            ((0, "max_pool_3x3"), (1, "skip_connect")),
            ((0, "skip_connect"), (2, "max_pool_3x3")),
        )
