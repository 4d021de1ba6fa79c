"""Evaluators, by the name that `NASClassifier` takes."""

from __future__ import annotations

from autokit.nas.evaluators.train import Task, TrainEvaluator

EVALUATORS = {"train": TrainEvaluator}

__all__ = ["EVALUATORS", "Task", "TrainEvaluator"]
