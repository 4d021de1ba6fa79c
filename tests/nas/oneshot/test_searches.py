from __future__ import annotations

import time

import numpy as np
import pytest

from autokit._backend import tf
from autokit.nas import Budget, Evaluation, ProductSpace, Task, darts, enas
from autokit.nas.evaluators import SharedWeights
from autokit.nas.oneshot import ONESHOT
from autokit.nas.oneshot.bilevel import Bilevel, BilevelSettings, architecture_gradient
from autokit.nas.oneshot.enas import ControllerTraining
from autokit.nas.oneshot.single_path import SharedWeightsTraining
from autokit.nas.oneshot.supernet import make_supernet
from autokit.training import Batch, TensorBatch, clear_programs
from autokit.training.objectives import make_loss

QUICK = {"epochs": 3, "retrain_epochs": 2, "batch_size": 32}


@pytest.fixture(autouse=True)
def no_programs():
    yield
    clear_programs()


@pytest.mark.parametrize(("method", "epochs"), [("darts", 20), ("enas", 8)])
def test_finds_the_only_operation_that_solves_the_task(method, epochs, deep_space, task):
    space = deep_space
    result = ONESHOT[method](space, task, epochs=epochs, retrain_epochs=40, batch_size=32, seed=1)
    assert "conv" in result.best.architecture
    assert "none" not in result.best.architecture
    assert result.best.score > 0.9
    assert result.stopped == "epochs"


@pytest.mark.parametrize("method", ONESHOT)
def test_a_seed_repeats_bit_for_bit(method, space, task):
    first, again = (ONESHOT[method](space, task, seed=3, **QUICK) for _ in range(2))
    assert first.best.architecture == again.best.architecture
    assert (first.best.score, first.best.loss) == (again.best.score, again.best.loss)
    np.testing.assert_array_equal(first.supernet.mixtures, again.supernet.mixtures)
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in result.supernet.rows]
        for result in (first, again)
    ]
    np.testing.assert_equal(*timeless)


def test_nothing_is_traced_twice(monkeypatch, space, task):
    made = []
    for program in (Bilevel, SharedWeightsTraining, ControllerTraining):
        begin = program.__init__

        def remembered(self, *arguments, begin=begin):
            begin(self, *arguments)
            made.append(self)

        monkeypatch.setattr(program, "__init__", remembered)
    darts(space, task, seed=0, **QUICK)
    enas(space, task, seed=0, warm_up=0.0, controller_steps=5, **QUICK)
    traces = [
        getattr(program, name).experimental_get_tracing_count()
        for program in made
        for name in ("steps", "evaluate", "sample")
        if hasattr(program, name)
    ]
    assert traces == [1] * 5


def test_what_the_supernet_went_through_is_told(space, task, tmp_path):
    result = darts(space, task, seed=0, **QUICK)
    frame = result.supernet.to_frame()
    assert list(frame["epoch"]) == [1, 2, 3]
    counts = frame[["none", "skip_connect", "avg_pool_3x3", "conv"]]
    assert (counts.sum(axis=1) == space.n_edges).all()
    assert ((frame["skip_share"] >= 0) & (frame["skip_share"] <= 1)).all()
    figure = result.supernet.plot_alphas(tmp_path / "alphas.png")
    assert (tmp_path / "alphas.png").stat().st_size > 0
    assert [ax.get_title() for ax in figure.axes] == ["edge 0"]
    for ax, lines in zip(figure.axes, np.moveaxis(result.supernet.mixtures, 1, 0), strict=True):
        drawn = np.stack([line.get_ydata() for line in ax.get_lines()], axis=1)
        np.testing.assert_array_equal(drawn, lines)


def test_second_order_of_a_supernet(space, task):
    net = make_supernet(space, task, 0)
    alphas = np.random.default_rng(0).normal(size=(net.n_edges, net.n_operations))
    program = Bilevel(net, make_loss(task.loss), alphas, BilevelSettings())
    batches = [
        TensorBatch(task.train.x[at : at + 64], task.train.y[at : at + 64]) for at in (0, 64)
    ]
    gradients = [
        architecture_gradient(program.objective(tf.constant(0.5)), order, exact=exact)(
            [v.value for v in program.free], program.alphas.value(), *batches, tf.constant(0.5)
        )[1]
        for order, exact in ((1, False), (2, False), (2, True))
    ]
    assert np.abs(gradients[0] - gradients[2]).max() > 1e-3
    np.testing.assert_allclose(gradients[1], gradients[2], rtol=0.05, atol=1e-4)


def test_both_orders_run(space, task):
    found = [
        darts(space, task, seed=0, order=order, **QUICK).supernet.mixtures[-1] for order in (1, 2)
    ]
    assert np.abs(found[0] - found[1]).max() > 1e-5


@pytest.mark.parametrize("method", ONESHOT)
def test_a_deadline_leaves_time_for_the_training(method, space, task):
    deadline = time.monotonic() + 6.0
    result = ONESHOT[method](space, task, epochs=100_000, deadline=deadline, seed=0)
    assert time.monotonic() < deadline + 4.0
    assert result.stopped == "time_budget"
    assert result.best.score is not None
    assert len(result.supernet.rows) < 100_000


@pytest.mark.parametrize("method", ONESHOT)
def test_numbers_are_searched_as_well(method, space, task):
    def numbers(batch):
        return Batch(batch.x, (2.0 * batch.y[:, None] - 1).astype("float32"))

    rows = numbers(task.train), numbers(task.validation)
    regression = Task(*rows, (6, 6, 1), 1, "linear", "mean_squared_error")
    result = ONESHOT[method](space, regression, seed=0, **QUICK)
    assert -2 < result.best.score <= 1


def test_children_are_ranked(space, task):
    result = enas(space, task, seed=0, n_children=6, **QUICK)
    scores = [score for _, score in result.supernet.children]
    assert scores == sorted(scores, reverse=True)
    assert len({child for child, _ in result.supernet.children}) == len(scores) <= 6
    assert result.supernet.children[0][0] == result.best.architecture


def test_progress_is_shown(space, task):
    events = []

    class Progress:
        def trial_started(self, number, architecture):
            events.append((number, architecture))

        def trial_finished(self, evaluation):
            events.append(evaluation)

    result = darts(space, task, seed=0, progress=Progress(), **QUICK)
    assert events == [(0, result.best.architecture), result.best]


@pytest.mark.parametrize("method", ONESHOT)
def test_a_space_without_a_supernet_is_refused(method, task):
    with pytest.raises(ValueError, match="ProductSpace has no supernet.*choose space='cell'"):
        ONESHOT[method](ProductSpace(), task, epochs=1)


def test_shared_weights_rank_what_solves_the_task_first(deep_space, task):
    space = deep_space
    evaluator = SharedWeights(space, task, epochs=8, batch_size=32)
    scores = {}
    for architecture in [("conv", "conv"), ("conv", "skip_connect"), ("none", "conv"),
                         ("avg_pool_3x3", "skip_connect")]:  # fmt: skip
        evaluation = evaluator(architecture, Budget(1))
        assert isinstance(evaluation, Evaluation)
        assert evaluation.architecture == architecture
        scores[architecture] = evaluation.score
    assert min(scores["conv", "conv"], scores["conv", "skip_connect"]) > 0.9
    assert max(scores["none", "conv"], scores["avg_pool_3x3", "skip_connect"]) < 0.75


def test_shared_weights_are_trained_once_and_repeat(deep_space, task):
    space = deep_space
    evaluations = []
    for order in (1, -1):
        evaluator = SharedWeights(space, task, epochs=2, batch_size=32)
        found = [evaluator(a, Budget(1)) for a in [("conv", "conv"), ("conv", "none")][::order]]
        assert found[1].setup_seconds < found[0].setup_seconds
        evaluations.append([(e.score, e.loss) for e in found][::order])
    assert evaluations[0] == evaluations[1]
