import numpy as np
import pytest

from autokit.nas import MLPSpace
from autokit.nas.hardware import HardwareConstraints, Infeasible, LookupTablePredictor, certify
from autokit.nas.hardware.certificates import Certificate, first_certified, nothing_feasible
from autokit.nas.hardware.constraints import Costs
from autokit.nas.protocols import Evaluation

SPACE = MLPSpace(widths=(8, 16), max_depth=2, normalizations=(None,))
SMALL = SPACE.smallest


@pytest.fixture(scope="module")
def model():
    return SPACE.build(SMALL, (4,), 3, "softmax")


def predictor(**options):
    rng = np.random.default_rng(0)
    seen = list(dict.fromkeys(SPACE.sample(rng) for _ in range(60)))
    noise = 1 + 0.1 * rng.normal(size=len(seen))
    made = LookupTablePredictor(SPACE, **options)
    return made.fit(seen, [0.5 * len(a.widths) for a in seen] * noise)


def test_the_file_is_measured(model):
    limits = HardwareConstraints(max_latency_ms=50, max_size_bytes=10_000, max_params=67)
    certificate = certify(model, limits)
    assert certificate.holds
    assert certificate.is_measured
    assert certificate.costs.n_params == 67
    assert 67 * 4 < certificate.costs.size_bytes < 10_000
    assert 0 < certificate.costs.latency_ms < 50
    limits = HardwareConstraints(max_latency_ms=1e-6, max_params=50)
    certificate = certify(model, limits)
    assert not certificate.holds
    assert "latency" in certificate.text
    assert "parameters 67 is 34 % over 50" in certificate.text


def test_an_estimators_file_is_larger_than_its_networks(model):
    from sklearn.datasets import load_iris

    from autokit import KerasClassifier

    X, y = load_iris(return_X_y=True)
    estimator = KerasClassifier(epochs=1, random_state=0).fit(X, y)
    limits = HardwareConstraints(max_size_bytes=10**6)
    whole, inner = (certify(part, limits).costs for part in (estimator, estimator.model_))
    assert whole.n_params == inner.n_params
    assert whole.size_bytes > inner.size_bytes
    assert whole.latency_ms is None


def test_a_prediction_is_held_to_its_error_where_nobody_measures(model):
    device = predictor()
    upper = device.predict([SMALL])[0] + device.error_.margin_ms
    assert device.error_.margin_ms > 0.02
    for limit, holds in ((1.01 * upper, True), (0.99 * upper, False)):
        limits = HardwareConstraints(max_latency_ms=limit, device=device)
        certificate = certify(model, limits, architecture=SMALL)
        assert certificate.holds is holds
        assert not certificate.is_measured
        assert certificate.costs.latency_ms == pytest.approx(upper)


def test_a_predictor_with_a_device_behind_it_is_measured_at_last(model):
    device = predictor(measure=lambda path: 7.0 if path.read_bytes()[4:8] == b"TFL3" else 0.0)
    limits = HardwareConstraints(max_latency_ms=1.0, device=device)
    certificate = certify(model, limits, architecture=SMALL)
    assert certificate.is_measured
    assert certificate.text == "latency 7 ms is 600 % over 1 ms"


def evaluations(*costs):
    return [
        Evaluation(i, (i,), 1.0 - 0.1 * i, 0.1, "complete", latency_ms=ms)
        for i, ms in enumerate(costs)
    ]


def measured(ms):
    limits = HardwareConstraints(max_latency_ms=2.0)
    costs = Costs(latency_ms=ms)
    violation = limits.violation(costs)
    return Certificate(violation == 0, costs, True, limits.explain(costs), violation)


def test_the_ranking_is_walked_down_to_the_first_that_holds():
    trained = []
    found = first_certified(
        evaluations(3.0, 2.5, 1.5, 1.0),
        build=lambda e: e.latency_ms,
        train=lambda e: trained.append(e.number) or e.latency_ms,
        certificate_of=lambda e, ms: measured(ms),
    )
    assert found[0].number == 2
    assert found[2].holds
    assert trained == [2]


def test_what_fails_after_its_training_is_not_returned():
    found = first_certified(
        evaluations(1.0, 1.5),
        build=lambda e: e.latency_ms,
        train=lambda e: 2.1 if e.number == 0 else 1.5,
        certificate_of=lambda e, ms: measured(ms),
    )
    assert found[0].number == 1


def test_if_none_holds_the_error_says_by_how_much_the_nearest_misses():
    with pytest.raises(Infeasible) as caught:
        first_certified(
            evaluations(3.0, 2.5),
            build=lambda e: e.latency_ms,
            train=None,
            certificate_of=lambda e, ms: measured(ms),
        )
    assert str(caught.value) == (
        "constraints are kept by none of the 2 candidates once they are measured: nearest comes "
        "(1,), whose latency 2.5 ms is 25 % over 2 ms; raise the limit, or let the search run "
        "longer."
    )


def test_a_search_without_anything_feasible_names_its_nearest_miss():
    missed = [
        Evaluation(i, (i,), None, None, "infeasible", latency_ms=ms, violation=ms / 2 - 1)
        for i, ms in enumerate((5.0, 2.56, 3.0))
    ]
    error = nothing_feasible(missed, HardwareConstraints(max_latency_ms=2.0))
    assert isinstance(error, Infeasible)
    assert "none of 3 architectures" in str(error)
    assert "nearest came (1,), whose latency 2.56 ms is 28 % over 2 ms" in str(error)


def test_what_cannot_be_known_is_refused(model):
    with pytest.raises(ValueError, match="max_params of HardwareConstraints must be"):
        certify(model, HardwareConstraints(max_params="many"))
