from __future__ import annotations

import gc

import numpy as np
import pytest

from autokit._backend import keras
from autokit.nas import Budget, MLPSpace, NB201Architecture, NB201Space, Task
from autokit.nas.evaluators import EVALUATORS, PROXIES, ZeroCostEvaluator
from autokit.nas.hardware import count_flops
from autokit.training import Batch, seeded


def task(shape=(6,), n=40, loss="sparse_categorical_crossentropy"):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, *shape)).astype("float32")
    y = rng.integers(3, size=n).astype("int32")
    return Task(Batch(X, y), Batch(X, y), shape, 3, "softmax", loss)


SPACE = MLPSpace(widths=(16, 32), max_depth=2, activations=("relu",))


def evaluate(architecture=None, seed=3, data=None, space=SPACE, **options):
    evaluator = ZeroCostEvaluator(space, data or task(), **options)
    return evaluator(architecture or space.default, Budget(epochs=5, seed=seed))


def test_an_evaluation_tells_the_proxy_and_what_the_network_costs():
    evaluation = evaluate(proxy="n_params")
    model = SPACE.build(SPACE.default, (6,), 3, "softmax")
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert evaluation.score == trainable
    assert evaluation.n_params == model.count_params()
    assert evaluation.flops == count_flops(SPACE.build(SPACE.default, (6,), 3, "linear"))
    assert (evaluation.status, evaluation.epochs, evaluation.seed) == ("complete", 0, 3)
    assert evaluation.seconds >= evaluation.setup_seconds > 0


@pytest.mark.parametrize("proxy", sorted(PROXIES))
def test_the_seed_determines_the_score(proxy):
    assert evaluate(proxy=proxy).score == evaluate(proxy=proxy).score


def test_seeds_make_different_networks_and_different_batches():
    assert evaluate(seed=3, proxy="snip").score != evaluate(seed=4, proxy="snip").score
    first, second = (ZeroCostEvaluator(SPACE, task(), seed=s).batch for s in (0, 1))
    assert len(first) == 32
    assert not np.array_equal(first.x, second.x)
    assert len(ZeroCostEvaluator(SPACE, task(n=5)).batch) == 5


def test_a_function_is_taken_for_a_proxy_and_meets_logits():
    seen = {}

    def own(model, batch, loss):
        seen.update(outputs=model(batch.x), loss=loss, rows=len(batch))
        return 1.5

    assert evaluate(proxy=own, n_rows=7).score == 1.5
    assert seen["rows"] == 7
    assert seen["loss"].get_config()["from_logits"]
    assert np.asarray(seen["outputs"]).min() < 0


def test_numbers_keep_their_loss():
    evaluator = ZeroCostEvaluator(SPACE, task(loss="mean_squared_error"))
    assert isinstance(evaluator.loss, keras.losses.MeanSquaredError)


def test_every_proxy_judges_a_cell():
    space = NB201Space(n_cells=1, width=4)
    for proxy in PROXIES:
        assert np.isfinite(evaluate(data=task((8, 8)), space=space, proxy=proxy).score)


def test_a_network_that_tells_no_rows_apart_is_a_failure():
    space = NB201Space(n_cells=1, width=4)
    broken = NB201Architecture(("none",) * 6)
    with pytest.raises(ValueError, match="the proxy is -inf: the network does not tell rows apart"):
        evaluate(broken, data=task((8, 8)), space=space, proxy="jacob_cov")


def test_an_unknown_proxy_is_named_at_once():
    with pytest.raises(ValueError, match="'proxy' parameter must be one of .*Did you mean 'snip'"):
        ZeroCostEvaluator(SPACE, task(), proxy="snipp")


def test_many_candidates_leave_nothing_behind():
    evaluators = [ZeroCostEvaluator(SPACE, task(), proxy, n_rows=8) for proxy in sorted(PROXIES)]

    def alive_after(n):
        for i in range(n):
            for evaluator in evaluators:
                evaluator(SPACE.default, Budget(epochs=1, seed=i))
        gc.collect()
        return sum(isinstance(x, keras.Variable | keras.KerasTensor) for x in gc.get_objects())

    assert alive_after(2) == alive_after(4)


def test_its_class_is_known_by_name():
    assert EVALUATORS["zero_cost"] is ZeroCostEvaluator
    with seeded(0):
        assert EVALUATORS["zero_cost"](SPACE, task()).proxy == "synflow"
