"""Evaluators, by the name that `NASClassifier` takes."""

from __future__ import annotations

from autokit.nas.evaluators.proxies import PROXIES
from autokit.nas.evaluators.shared import SharedWeights
from autokit.nas.evaluators.train import Task, TrainEvaluator
from autokit.nas.evaluators.zero_cost import ZeroCostEvaluator

EVALUATORS = {"shared": SharedWeights, "train": TrainEvaluator, "zero_cost": ZeroCostEvaluator}

__all__ = ["EVALUATORS", "PROXIES", "SharedWeights", "Task", "TrainEvaluator", "ZeroCostEvaluator"]
