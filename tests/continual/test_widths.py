"""State that goes along with the output units."""

from __future__ import annotations

import numpy as np

from autokit._backend import keras
from autokit.continual.protocols import PerUnit
from autokit.continual.widths import narrowed, optimizer_shapes, widened
from autokit.training import FitConfig

NARROW, WIDE = [(3, 2), (2,), (4,)], [(3, 5), (5,), (4,)]


def state_of(shapes, n_units):
    values = [np.arange(1.0, np.prod(s) + 1).reshape(s) for s in shapes]
    units = np.arange(1.0, 2 * n_units + 1).reshape(2, n_units)
    # as deep as the state of a chain
    return {"0": {"weight": values, "units": PerUnit(units)}, "1": {"kept": (values[0],)}}


def test_new_units_are_zero_in_lists_and_nan_by_unit():
    before = state_of(NARROW, 2)
    after = widened(before, WIDE, np.array([3, 1]), 5)
    kernel, bias, other = after["0"]["weight"]
    np.testing.assert_array_equal(kernel[:, [3, 1]], before["0"]["weight"][0])
    assert not kernel[:, [0, 2, 4]].any() and kernel.shape == (3, 5)
    np.testing.assert_array_equal(bias, [0, 2, 0, 1, 0])
    assert other is before["0"]["weight"][2]
    units = after["0"]["units"].values
    np.testing.assert_array_equal(units[:, [3, 1]], before["0"]["units"].values)
    assert np.isnan(units[:, [0, 2, 4]]).all()
    assert after["1"]["kept"][0] is before["1"]["kept"][0]


def test_cutting_undoes_widening_at_the_end():
    before = state_of(NARROW, 2)
    after = narrowed(widened(before, WIDE, np.arange(2), 5), NARROW, 2)
    for a, b in zip(after["0"]["weight"], before["0"]["weight"], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(after["0"]["units"].values, before["0"]["units"].values)


def test_shapes_of_an_optimizers_state_follow_the_network():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    config = FitConfig(epochs=1, batch_size=1, optimizer="adam")
    # Adam: steps, learning rate, two moments of kernel and bias
    assert sorted(optimizer_shapes(model, config)) == [(), (), (2,), (2,), (3, 2), (3, 2)]
