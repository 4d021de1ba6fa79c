from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from autokit.nas import Evaluation, FullTraining, RandomSearch, SearchResult, SearchStorage
from autokit.nas.job import SearchJob, fingerprint, stored_seed
from autokit.testing.nas import ToySpace
from autokit.training import Batch, TrainingDiverged

ROWS = Batch(np.zeros((100, 2), "float32"), np.zeros(100, "int32"))


class Trainer:
    """Records what it is asked to train."""

    def __init__(self, kept=(), stopped="epochs", error=None):
        self.task = SimpleNamespace(
            train=ROWS.take(slice(80)), validation=ROWS.take(slice(80, 100))
        )
        self.kept, self.stopped, self.error = dict.fromkeys(kept), stopped, error
        self.asked = []

    def train(self, architecture, train, validation, budget, on_epoch=None):
        if self.error is not None:
            raise self.error
        what = "refit" if validation is None else "repeat"
        self.asked.append((what, len(train), budget.epochs))
        return SimpleNamespace(model=what, result=SimpleNamespace(stopped=self.stopped))

    def restore(self, architecture, seed):
        return SimpleNamespace(model="trial") if architecture in self.kept else None


class Plain(ToySpace):
    default = None
    smallest = (1, 1, 1, 1, 1)
    reference = (2, 2, 2, 2, 2)


def _job(trainer=None, left=None, **options):
    space = Plain()
    space.default = Plain.reference
    job = SearchJob(
        space=space,
        method=RandomSearch,
        evaluator=space.evaluate,
        trainer=trainer or Trainer(),
        data=ROWS,
        schedule=FullTraining(10),
        started=time.monotonic(),
        **options,
    )
    job.deadline = None if left is None else time.monotonic() + left
    return job


def _finished(architecture="a", seconds=9.0, stopped="max_trials", status="complete"):
    evaluation = Evaluation(
        0, architecture, 0.9, 0.1, status, epochs=10, seconds=seconds, setup_seconds=1.0
    )
    return SearchResult((evaluation,), stopped)


def test_the_winner_is_refitted_on_all_rows():
    trainer = Trainer(kept="a")
    assert _job(trainer).winner(_finished())[1].model == "refit"
    assert trainer.asked == [("refit", 100, 10)]


@pytest.mark.parametrize(
    # 10 epochs of 80 rows took 8 s: an epoch of 100 rows takes 1 s
    "left, asked",
    [(20.0, 10), (9.3, 8), (4.0, None), (-1.0, None)],
)
def test_the_refit_takes_the_epochs_that_fit(left, asked):
    trainer = Trainer(kept="a")
    winner = _job(trainer, left).winner(_finished())[1]
    assert trainer.asked == ([] if asked is None else [("refit", 100, asked)])
    assert winner.model == ("trial" if asked is None else "refit")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TrainingDiverged("no")])
def test_a_refit_that_ends_early_leaves_the_trials_weights(error, caplog):
    trainer = Trainer(kept="a", error=error)
    assert _job(trainer).winner(_finished())[1].model == "trial"
    assert "the trial's own weights stay" in caplog.text


def test_a_refit_that_the_deadline_ended_leaves_the_trials_weights():
    assert _job(Trainer(kept="a", stopped="deadline"), 60).winner(_finished())[1].model == "trial"


def test_an_interrupted_search_is_not_refitted():
    trainer = Trainer(kept="a")
    assert _job(trainer).winner(_finished(stopped="interrupted"))[1].model == "trial"
    assert trainer.asked == []


def test_weights_that_are_gone_are_trained_once_more():
    trainer = Trainer()
    assert _job(trainer, refit=False).winner(_finished())[1].model == "repeat"
    assert trainer.asked == [("repeat", 80, 10)]
    assert _job(trainer, left=-1.0).winner(_finished())[1].model == "refit", "no other model"


def test_the_reserve_is_the_refits_time():
    job = _job(left=60)
    evaluations = _finished().evaluations
    assert job.reserve(evaluations) == pytest.approx(1.15 * 10 * 1.0)
    late = [Evaluation(i, i, 0.1, 1.0, "complete") for i in range(1, 20)]
    assert job.reserve([*evaluations, *late]) == pytest.approx(1.15 * (10 * 1.0 + 1.0))
    assert _job(refit=False).reserve(evaluations) == 0.0


def test_a_trial_is_hopeless_if_it_leaves_no_time_for_its_refit():
    now = time.monotonic()
    clock = [now - 6.0, now - 3.0, now - 2.0, now - 1.0, now]  # 1 s an epoch, 6 to do
    needed = 6 * 1.0 + 1.15 * 10 * 1.25
    for left, hopeless in ((needed - 0.5, True), (needed + 0.5, False)):
        job = _job()
        job.deadline = now + left
        assert job.hopeless(clock) is hopeless
    assert not job.hopeless(clock[:2]), "the first epoch also traces"


@pytest.mark.parametrize(
    "time_budget_s, start", [(None, (2,) * 5), (60.0, (2,) * 5), (2.0, (1,) * 5)]
)
def test_a_search_of_a_few_seconds_starts_small(time_budget_s, start):
    result, _ = _job(time_budget_s=time_budget_s, max_trials=1).run()
    assert result.evaluations[0].architecture == start


def test_stored_trials_have_spent_their_time(tmp_path):
    path = tmp_path / "x.journal"
    SearchStorage(path, {}).write(Evaluation(0, (2,) * 5, 0.1, 0.1, "complete", 1, seconds=50.0))
    job = _job(time_budget_s=51.0, storage=SearchStorage(path, {}), n_jobs=1)
    started = time.monotonic()
    result, _ = job.run()
    assert result.stopped == "time_budget"
    assert time.monotonic() - started < 10
    assert job.deadline == job.started + 51.0


def test_fingerprints_tell_rows_types_and_parameters_apart():
    first = fingerprint(ROWS, {"epochs": 3})
    assert first == fingerprint(ROWS, {"epochs": 3})
    other = Batch(ROWS.x.astype("float64"), ROWS.y, np.ones(100, "float32"))
    changed = fingerprint(other, {"epochs": 4})
    assert {name for name in first if first[name] != changed[name]} == {
        "X", "sample_weight", "epochs",
    }  # fmt: skip


def test_the_seed_of_a_journal(tmp_path):
    path = tmp_path / "x.journal"
    assert stored_seed(path) is None
    SearchStorage(path, {"random_state": 7})
    assert stored_seed(path) == 7
