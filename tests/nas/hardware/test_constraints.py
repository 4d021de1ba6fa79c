import pytest

from autokit.nas.hardware import Costs, HardwareConstraints
from autokit.nas.hardware.constraints import check_objectives, objective_values
from autokit.nas.protocols import Evaluation


def test_violation_is_the_sum_of_relative_excesses():
    limits = HardwareConstraints(
        max_latency_ms=2.0, max_params=100, max_flops=1000, max_size_bytes=50, max_memory_bytes=8
    )
    costs = Costs(n_params=150, flops=900, memory_bytes=10, size_bytes=50, latency_ms=4.0)
    assert limits.violation(costs) == pytest.approx(0.5 + 0.25 + 1.0)
    assert limits.violation(Costs(1, 1, 1, 1, 1.0)) == 0.0


def test_unknown_costs_count_nothing_but_are_named():
    limits = HardwareConstraints(max_params=10, max_size_bytes=10)
    assert limits.violation(Costs(n_params=20)) == 1.0
    assert limits.unknown(Costs(n_params=20)) == ("size_bytes",)
    assert limits.needs == ("n_params", "size_bytes")


def test_an_evaluation_is_judged_like_costs():
    evaluation = Evaluation(0, (1,), 0.5, 0.1, "complete", n_params=15, latency_ms=3.2)
    limits = HardwareConstraints(max_params=10, max_latency_ms=2.5)
    assert limits.violation(evaluation) == pytest.approx(0.5 + 0.28)
    text = "latency 3.2 ms is 28 % over 2.5 ms, parameters 15 is 50 % over 10"
    assert limits.explain(evaluation) == text


def test_nothing_to_explain_where_all_holds():
    assert HardwareConstraints(max_params=10).explain(Costs(n_params=10)) == ""
    tiny = HardwareConstraints(max_params=10_000).explain(Costs(n_params=10_001))
    assert tiny == "parameters 10,001 is less than 1 % over 10,000"


@pytest.mark.parametrize("value", [0, -1.0, "2", True, float("nan"), float("inf")])
def test_a_limit_is_a_positive_number(value):
    with pytest.raises(ValueError, match="max_latency_ms of HardwareConstraints must be"):
        HardwareConstraints(max_latency_ms=value).check()


def test_a_device_is_the_host_a_predictor_or_a_function():
    with pytest.raises(ValueError, match="device of HardwareConstraints .* got 'phone'"):
        HardwareConstraints(device="phone").check()
    HardwareConstraints(max_params=3, device=lambda path: 1.0).check()


def test_objectives_are_turned_so_that_higher_is_better():
    evaluation = Evaluation(0, (1,), 0.5, 0.1, "complete", n_params=15, latency_ms=3.0)
    assert objective_values(evaluation, ("score", "latency_ms", "params")) == (0.5, -3.0, -15.0)
    assert objective_values(evaluation, ("score", "flops")) == ()


@pytest.mark.parametrize("wrong", [("score", "speed"), (), ("params", "n_params")])
def test_unknown_doubled_or_no_objectives_are_refused(wrong):
    with pytest.raises(ValueError, match="objectives must be"):
        check_objectives(wrong)
