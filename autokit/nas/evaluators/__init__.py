"""Evaluators, by the name that `NASClassifier` takes."""

from __future__ import annotations

from autokit.nas.evaluators.shared import SharedWeights
from autokit.nas.evaluators.train import Task, TrainEvaluator

EVALUATORS = {"shared": SharedWeights, "train": TrainEvaluator}

__all__ = ["EVALUATORS", "SharedWeights", "Task", "TrainEvaluator"]
