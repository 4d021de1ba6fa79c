import itertools

import numpy as np
import pytest

from autokit.nas import MLPSpace
from autokit.nas.hardware import FeasibleSpace, Infeasible, check_feasible
from autokit.nas.strategies import STRATEGIES
from autokit.testing.nas import SpaceContract, ToySpace


def over(budget):
    """By how much the coordinates of a toy point exceed a budget, relatively."""
    return lambda point: max(0.0, sum(point) / budget - 1.0)


def narrow(architecture):
    return max(0.0, sum(architecture.widths) / 200 - 1.0)


class TestAroundPerceptrons(SpaceContract):
    def make_space(self):
        return FeasibleSpace(MLPSpace(), narrow)

    def is_member(self, space, architecture):
        return super().is_member(space, architecture) and space.violation(architecture) == 0


# of 3125 points, so many are within the budget: 0.03 % to 8 %
@pytest.mark.parametrize(("budget", "n_feasible"), [(0.5, 1), (1, 6), (3, 56), (5, 247)])
def test_never_yields_what_is_infeasible(budget, n_feasible):
    toy = ToySpace()
    assert sum(sum(p) <= budget for p in itertools.product(range(5), repeat=5)) == n_feasible
    space, rng = FeasibleSpace(toy, over(budget)), np.random.default_rng(0)
    parent = space.sample(rng)
    for _ in range(60):
        drawn = space.sample(rng)
        child = space.crossover(parent, drawn, rng)
        assert space.violation(drawn) == space.violation(child) == 0
        if n_feasible > 1:
            parent = space.mutate(child, rng)
            assert parent != child
            assert space.violation(parent) == 0


def test_samples_of_a_tight_space_are_many():
    space, rng = FeasibleSpace(ToySpace(), over(3)), np.random.default_rng(0)
    assert len({space.sample(rng) for _ in range(200)}) > 40


@pytest.mark.parametrize("name", ["local_search", "evolution", "random"])
def test_strategies_find_the_best_within_a_budget(name):
    toy = ToySpace()
    space = FeasibleSpace(toy, over(6))
    strategy = STRATEGIES[name](space, np.random.default_rng(0))
    told = []
    for number in range(150):
        (point,) = strategy.ask(1)
        told.append(toy.evaluate(point, number=number))
        strategy.tell(told[-1:])
    assert all(space.violation(e.architecture) == 0 for e in told)
    if name != "random":
        assert max(e.score for e in told) == toy.score((1, 1, 1, 1, 2))


def test_violations_are_asked_once():
    asked = []
    space = FeasibleSpace(ToySpace(n_dimensions=2), lambda p: asked.append(p) or 0.0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        space.sample(rng)
    assert len(asked) == len(set(asked))


def test_starts_are_feasible_or_what_is_near():
    space = FeasibleSpace(MLPSpace(), narrow)
    assert sum(MLPSpace().default.widths) == 192
    assert space.default == MLPSpace().default
    tight = FeasibleSpace(MLPSpace(), lambda a: max(0.0, sum(a.widths) / 100 - 1))
    assert sum(tight.default.widths) <= 100
    assert tight.smallest == MLPSpace().smallest
    assert FeasibleSpace(MLPSpace(), lambda a: 1.0).default is None


def test_other_attributes_are_the_wrapped_spaces():
    space = FeasibleSpace(MLPSpace(max_depth=2), narrow)
    assert space.max_depth == 2
    with pytest.raises(AttributeError):
        _ = space.supernet
    with pytest.raises(AttributeError):  # it would count what is not feasible
        _ = space.size


def test_infeasible_limits_are_refused_with_the_nearest_miss():
    limit = 20.0

    def violation(architecture):
        return max(0.0, sum(architecture.widths) / limit - 1)

    with pytest.raises(
        Infeasible, match=r"cannot be met: .*widths=\(32,\).* width is 60 % over 20"
    ):
        check_feasible(
            MLPSpace(),
            violation,
            np.random.default_rng(0),
            explain=lambda a: f"width is {100 * violation(a):.0f} % over {limit:g}",
        )


def test_what_a_walk_down_finds_is_returned():
    rng = np.random.default_rng(0)
    space = FeasibleSpace(ToySpace(8, 5), over(0.5))
    found = check_feasible(space, space.violation, rng, steps=2000)
    assert found == (0,) * 8
    assert space.sample(rng) == found
