from __future__ import annotations

import numpy as np
import pytest

from autokit.nas import CNNArchitecture, CNNSpace
from autokit.testing.nas import SpaceContract


class TestCNNSpace(SpaceContract):
    input_shape = (8, 8)

    def make_space(self):
        return CNNSpace(stem_widths=(8,), max_blocks=1)


class TestCNNSpaceOnColour(SpaceContract):
    input_shape = (12, 9, 3)
    n_builds = 1

    def make_space(self):
        return CNNSpace(stem_widths=(8, 16), max_stages=2)


def test_stages_grow_by_the_multiplier_in_steps_of_8():
    architecture = CNNArchitecture(24, (1, 1, 1), "plain", 1.5, 3, 0.0)
    model = CNNSpace().build(architecture, (32, 32), 2, "softmax")
    widths = [layer.filters for layer in model.layers if hasattr(layer, "filters")]
    assert widths == [24, 24, 40, 56]


def test_depth_is_the_architecture():
    space = CNNSpace()
    shallow, deep = (
        space.build(CNNArchitecture(16, blocks, "plain", 2.0, 3, 0.0), (8, 8), 2, "softmax")
        for blocks in ((1,), (2, 2))
    )
    count = lambda model: sum(hasattr(layer, "filters") for layer in model.layers)  # noqa: E731
    assert (count(shallow), count(deep)) == (2, 5)


@pytest.mark.parametrize("shape", [(64,), (7, 7), (8, 8, 3, 1)])
def test_rows_that_are_no_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"'space' parameter is a cnn.*reshape X") as caught:
        CNNSpace().check_input(shape)
    assert "\n" not in str(caught.value)


def test_the_space_is_about_as_large_as_it_says():
    rng = np.random.default_rng(0)
    samples = [CNNSpace().sample(rng) for _ in range(500)]
    assert {a.block for a in samples} == {"plain", "residual", "separable", "inverted"}
    assert {len(a.blocks) for a in samples} == {1, 2, 3}
    assert len(set(samples)) > 400
