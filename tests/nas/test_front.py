import numpy as np
import pytest

from autokit.nas.protocols import Evaluation
from autokit.nas.result import SearchResult

# score, latency_ms, n_params
POINTS = [(0.9, 3.0, 10), (0.8, 1.0, 30), (0.85, 3.5, 5), (0.7, 1.5, 40), (0.9, 3.0, 10)]


@pytest.fixture
def result():
    evaluations = [
        Evaluation(i, (i,), score, 0.1, "complete", n_params=n_params, latency_ms=ms)
        for i, (score, ms, n_params) in enumerate(POINTS)
    ]
    evaluations += [
        Evaluation(5, (5,), 0.99, 0.1, "pruned", n_params=1, latency_ms=0.1),
        Evaluation(6, (6,), None, None, "infeasible", n_params=1, latency_ms=9.0, violation=2.0),
        Evaluation(7, (7,), None, None, "failed", error="no"),
    ]
    return SearchResult(tuple(evaluations), "max_trials", objectives=("score", "latency_ms"))


def test_the_front_holds_what_nothing_beats(result):
    assert list(result.pareto_front()["number"]) == [0, 1]
    assert list(result.pareto_front(("latency_ms", "score"))["number"]) == [1, 0]
    assert list(result.pareto_front(("score", "latency_ms", "params"))["number"]) == [0, 2, 1]
    assert list(result.pareto_front(("score",))["number"]) == [0]


def test_hypervolume_of_two_objectives_is_a_sum_of_rectangles(result):
    volume = result.hypervolume(reference={"score": 0.5, "latency_ms": 4.0})
    # from 4 ms to 3 ms: score 0.9; from 4 ms to 1 ms: score 0.8
    assert volume == pytest.approx(0.4 * 1.0 + 0.3 * 2.0)
    # the worst seen: score 0.7, 3.5 ms
    assert result.hypervolume() == pytest.approx(0.2 * 0.5 + 0.1 * 2.0)


def test_a_reference_of_other_objectives_is_refused(result):
    with pytest.raises(ValueError, match="reference must give a value for each of score, latency"):
        result.hypervolume(reference={"score": 0.5})


def test_unknown_costs_leave_an_empty_front(result):
    assert len(result.pareto_front(("score", "flops"))) == 0
    assert result.hypervolume(("score", "flops")) == 0.0


def test_the_ranking_is_of_what_is_feasible_and_has_a_score(result):
    assert [e.number for e in result.ranking] == [0, 4, 2, 1, 3, 5]


def test_the_table_has_the_costs_that_are_known(result):
    frame = result.to_frame()
    assert "latency_ms" in frame
    assert "flops" not in frame
    assert frame["violation"].tolist() == [0.0] * 6 + [2.0, 0.0]


def test_pictures(result, tmp_path):
    figure = result.plot_pareto(tmp_path / "front.png")
    assert (tmp_path / "front.png").stat().st_size > 5000
    (axes,) = figure.axes
    assert axes.get_xlabel() == "latency, ms"
    front = axes.collections[1].get_offsets()
    np.testing.assert_allclose(front, [(3.0, 0.9), (1.0, 0.8)])
    assert len(result.plot_pareto(objectives=("score", "latency_ms", "n_params")).axes) == 2
    with pytest.raises(ValueError, match="at least two"):
        result.plot_pareto(objectives=("score",))
