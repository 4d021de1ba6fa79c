"""The last step of a one-shot method: what was found is trained from scratch."""

from __future__ import annotations

from dataclasses import replace

from autokit.nas.evaluators.train import TrainEvaluator
from autokit.nas.protocols import Budget
from autokit.nas.result import SearchResult


def retrained(found, space, task, trainer, clock, seed, progress, history) -> SearchResult:
    """Train from scratch what a supernet found, and make it the result."""
    trainer = TrainEvaluator(space, task) if trainer is None else trainer
    if progress is not None:
        progress.trial_started(0, found)
    budget = Budget(clock.retrain_epochs, clock.deadline, seed=seed)
    evaluation = replace(trainer(found, budget), number=0, seed=seed)
    if progress is not None:
        progress.trial_finished(evaluation)
    return SearchResult((evaluation,), clock.stopped(evaluation), supernet=history)
