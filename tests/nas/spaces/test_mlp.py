from __future__ import annotations

from autokit.nas import MLPArchitecture, MLPSpace
from autokit.testing.nas import SpaceContract


class TestMLPSpace(SpaceContract):
    input_shape = (6,)

    def make_space(self):
        return MLPSpace(widths=(4, 8), max_depth=3)


def test_the_network_is_the_architecture():
    architecture = MLPArchitecture((8, 4), "relu", None, 0.0, False)
    model = MLPSpace().build(architecture, (10,), 3, "softmax")
    assert model.count_params() == (10 * 8 + 8) + (8 * 4 + 4) + (4 * 3 + 3)


def test_every_choice_is_sampled():
    import numpy as np

    rng = np.random.default_rng(0)
    samples = [MLPSpace().sample(rng) for _ in range(300)]
    assert {len(a.widths) for a in samples} == {1, 2, 3, 4}
    assert {a.activation for a in samples} == {"relu", "selu", "gelu", "silu"}
    assert {a.normalization for a in samples} == {None, "batch", "layer"}
    assert {a.residual for a in samples} == {True, False}


def test_a_narrowed_space_starts_inside_itself():
    space = MLPSpace(widths=(16,), max_depth=1, activations=("gelu",), dropouts=(0.0,))
    assert space.default == MLPArchitecture((16,), "gelu", "batch", 0.0, False)
