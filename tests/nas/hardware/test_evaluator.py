from types import SimpleNamespace

import numpy as np
import pytest

from autokit.nas import Budget, MLPSpace
from autokit.nas.hardware import (
    Costs,
    FeasibleSpace,
    HardwareAware,
    HardwareConstraints,
    LookupTablePredictor,
    costing,
    count_flops,
    peak_activation_bytes,
)
from autokit.nas.protocols import Evaluation

SPACE = MLPSpace(widths=(8, 16, 32), max_depth=2, normalizations=(None,))
SMALL, LARGE = SPACE.smallest, SPACE.architecture_type((32, 32), "relu", None, 0.0, False)
# weights and biases of 4 -> 8 -> 3 and of 4 -> 32 -> 32 -> 3
N_SMALL, N_LARGE = 67, 1315
BUDGET = Budget(epochs=3)


def task():
    train = SimpleNamespace(x=np.zeros((40, 4), "float32"))
    return SimpleNamespace(input_shape=(4,), n_outputs=3, output_activation="softmax", train=train)


class Scorer:
    """An evaluator that counts its calls."""

    def __init__(self):
        self.asked = []

    def __call__(self, architecture, budget):
        self.asked.append(architecture)
        return Evaluation(-1, architecture, 0.5, 0.1, "complete", epochs=budget.epochs, seconds=1.0)


def predictor(space=SPACE, **options):
    """Half a millisecond for every layer."""
    rng = np.random.default_rng(0)
    seen = list(dict.fromkeys(space.sample(rng) for _ in range(80)))
    made = LookupTablePredictor(space, **options)
    return made.fit(seen, [0.5 * len(a.widths) for a in seen])


def test_counts_are_always_there():
    evaluation = HardwareAware(Scorer(), SPACE, task())(LARGE, BUDGET)
    model = SPACE.build(LARGE, (4,), 3, "softmax")
    assert evaluation.n_params == N_LARGE == model.count_params()
    assert evaluation.flops == count_flops(model)
    assert evaluation.memory_bytes == peak_activation_bytes(model)
    assert (evaluation.size_bytes, evaluation.latency_ms) == (None, None)
    assert (evaluation.violation, evaluation.values) == (0.0, ())
    assert evaluation.status == "complete"


def test_what_is_beyond_a_limit_is_not_trained():
    scorer = Scorer()
    aware = HardwareAware(scorer, SPACE, task(), HardwareConstraints(max_params=1000))
    evaluation = aware(LARGE, BUDGET)
    assert evaluation.status == "infeasible"
    assert evaluation.score is None
    assert evaluation.violation == pytest.approx(0.315)
    assert evaluation.error == "parameters 1,315 is 31 % over 1,000"
    assert scorer.asked == []
    assert aware(SMALL, BUDGET).score == 0.5
    assert scorer.asked == [SMALL]


def test_objectives_are_values_that_are_better_the_higher():
    aware = HardwareAware(Scorer(), SPACE, task(), objectives=("score", "params", "flops"))
    evaluation = aware(SMALL, BUDGET)
    assert evaluation.values == (0.5, -float(N_SMALL), -float(evaluation.flops))


def test_the_space_is_cut_by_what_is_cheap():
    limits = HardwareConstraints(max_params=300, max_latency_ms=0.6, device=predictor())
    aware, rng = HardwareAware(Scorer(), SPACE, task(), limits), np.random.default_rng(0)
    space = aware.costing.feasible_space()
    assert isinstance(space, FeasibleSpace)
    for _ in range(10):
        architecture = space.sample(rng)
        evaluation = aware(architecture, BUDGET)
        assert evaluation.status == "complete"
        assert evaluation.n_params <= 300
        assert len(architecture.widths) == 1
        assert evaluation.latency_ms == pytest.approx(0.5, abs=0.05)


def test_a_prediction_has_its_error_on_top_unless_the_last_word_is_measured():
    never = predictor()
    at_last = predictor(measure=lambda path: 1.0)
    exact = never.predict([SMALL])[0]
    for device, margin in ((never, never.error_.margin_ms), (at_last, 0.0)):
        limit = exact + margin
        for slack, status in ((1.001, "complete"), (0.999, "infeasible")):
            limits = HardwareConstraints(max_latency_ms=slack * limit, device=device)
            assert HardwareAware(Scorer(), SPACE, task(), limits)(SMALL, BUDGET).status == status


def test_the_space_stays_whole_where_a_file_must_be_measured():
    limits = HardwareConstraints(max_latency_ms=1.0)
    assert HardwareAware(Scorer(), SPACE, task(), limits).costing.feasible_space() is SPACE
    assert HardwareAware(Scorer(), SPACE, task()).costing.feasible_space() is SPACE


def test_files_are_made_once_and_only_where_the_rest_is_within_limits():
    timed = []

    def device(path):
        timed.append(path.stat().st_size)
        return 2.0

    limits = HardwareConstraints(max_params=1000, max_latency_ms=2.5, device=device)
    aware = HardwareAware(Scorer(), SPACE, task(), limits)
    for _ in range(2):
        evaluation = aware(SMALL, BUDGET)
        assert evaluation.latency_ms == 2.0
        assert evaluation.size_bytes == timed[0]
    assert aware(LARGE, BUDGET).status == "infeasible"
    assert len(timed) == 1
    assert evaluation.seconds >= 1.0


def test_the_host_measures_in_litert():
    limits = HardwareConstraints(max_size_bytes=10_000)
    aware = HardwareAware(Scorer(), SPACE, task(), limits, ("score", "latency_ms"))
    evaluation = aware(SMALL, BUDGET)
    assert 0 < evaluation.latency_ms < 50
    assert N_SMALL * 4 < evaluation.size_bytes < 10_000
    assert evaluation.values == (0.5, -evaluation.latency_ms)


def test_a_predictor_of_another_space_or_other_rows_is_refused_at_once():
    limits = HardwareConstraints(max_latency_ms=1.0, device=predictor())
    with pytest.raises(ValueError, match="LatencyPredictor for another space: it was fitted in"):
        HardwareAware(Scorer(), MLPSpace(), task(), limits)
    limits = HardwareConstraints(max_latency_ms=1.0, device=predictor(input_shape=(5,)))
    with pytest.raises(ValueError, match=r"rows of shape \(5,\), but the search has .* \(4,\)"):
        HardwareAware(Scorer(), SPACE, task(), limits)


def test_wrong_limits_and_objectives_are_refused_at_once():
    with pytest.raises(ValueError, match="max_params of HardwareConstraints"):
        HardwareAware(Scorer(), SPACE, task(), HardwareConstraints(max_params=-1))
    with pytest.raises(ValueError, match="objectives must be of 'score'"):
        HardwareAware(Scorer(), SPACE, task(), objectives=("score", "beauty"))


def test_few_networks_are_built_to_know_many(monkeypatch):
    def n_params(architecture):
        widths = (4, *architecture.widths, 3)
        return sum((m + 1) * n for m, n in zip(widths, widths[1:], strict=False))

    built = []
    monkeypatch.setattr(costing, "count", lambda a: built.append(a) or Costs(n_params(a), 1, 1))
    space = MLPSpace()
    aware = HardwareAware(Scorer(), space, task(), HardwareConstraints(max_params=20_000))
    aware.costing.build = lambda architecture: architecture
    within, rng = aware.costing.feasible_space(), np.random.default_rng(0)
    found = {within.sample(rng) for _ in range(300)}
    assert len(found) > 250
    assert len(built) < 220
    assert np.mean([n_params(a) > 20_000 for a in found]) < 0.01
