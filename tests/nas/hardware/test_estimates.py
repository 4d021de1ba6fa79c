import numpy as np
import pytest

from autokit.nas.hardware import Costs
from autokit.nas.hardware.estimates import FIRST_FIT, CountEstimate
from autokit.testing.hardware import Chain


def cost(architecture):
    """A count that is not additive: operations multiply with what is before them."""
    width, total = 4, 0
    for op in architecture:
        total += {"skip": 1, "pool": 2, "small": width, "large": 9 * width}[op]
        width += op == "large"
    return total


@pytest.fixture(scope="module")
def estimate():
    space, rng = Chain(), np.random.default_rng(0)
    estimate = CountEstimate(space, {"n_params": 60})
    for i in range(120):
        architecture = space.sample(rng)
        if i < FIRST_FIT:
            assert estimate.violation(architecture) is None
        estimate.add(architecture, Costs(n_params=cost(architecture)))
    return estimate


def test_what_is_answered_is_right_and_much_is_answered(estimate):
    answers = {tuple(a): estimate.violation(tuple(a)) for a in Chain()}
    sure = {a: v for a, v in answers.items() if v is not None}
    assert len(sure) > 0.3 * len(answers)
    wrong = [a for a, v in sure.items() if (v > 0) != (cost(a) > 60)]
    assert len(wrong) <= 0.01 * len(sure)


def test_excesses_are_about_right(estimate):
    huge = ("large",) * 5
    assert estimate.violation(huge) == pytest.approx(cost(huge) / 60 - 1, rel=0.3)


def test_costs_that_are_not_known_teach_nothing():
    estimate = CountEstimate(Chain(), {"n_params": 10, "memory_bytes": 10})
    for architecture in list(Chain())[: 2 * FIRST_FIT]:
        estimate.add(tuple(architecture), Costs(n_params=3))
    assert estimate.violation(("skip",) * 5) is None
