"""An evaluator around another: it knows costs, and trains only what is within the limits."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from autokit.nas.hardware.constraints import (
    COSTS,
    HardwareConstraints,
    check_objectives,
    objective_values,
)
from autokit.nas.hardware.costing import Costing
from autokit.nas.protocols import Budget, Evaluation


@dataclass
class HardwareAware:
    """Evaluate within constraints, for one objective or several.

    ::

        costs = what is limited or an objective: counted, then predicted, then measured
        if a limit is exceeded:  status "infeasible", with costs and violation, without training
        otherwise:               the inner evaluation, with costs, and with values if there are
                                 several objectives

    Parameters
    ----------
    evaluator : Evaluator
        Scores what is feasible.
    space : SearchSpace
    task : Task
        Its input shape, outputs and training rows.
    constraints : HardwareConstraints, optional
    objectives : tuple of str, default=("score",)
        Of "score", "latency_ms", "n_params" (or "params"), "flops", "size_bytes" and
        "memory_bytes". Costs are turned, so that higher is better.
    quantization : str or None, default=None
        Of the files that are measured, see `autokit.deploy.export_tflite`.
    deployed : callable or None, default=None
        From a network to what is exported, see `Costing`.

    Attributes
    ----------
    costing : Costing
        Knows the costs of what was seen. ``costing.feasible_space()`` is the space to search.

    Raises
    ------
    ValueError
        A limit or an objective is wrong, or the predictor is another space's.
    """

    evaluator: Any
    space: Any
    task: Any
    constraints: HardwareConstraints = field(default_factory=HardwareConstraints)
    objectives: tuple[str, ...] = ("score",)
    quantization: str | None = None
    deployed: Any = None

    def __post_init__(self):
        self.objectives = check_objectives(self.objectives)
        task = self.task
        self.costing = Costing(
            self.space,
            tuple(task.input_shape),
            task.n_outputs,
            task.output_activation,
            self.constraints,
            self.objectives,
            self.quantization,
            # of an estimator, the rows that it keeps calibrate the file
            None if self.quantization is None or self.deployed else task.train.x[:500],
            self.deployed,
        )

    def __call__(self, architecture: Any, budget: Budget) -> Evaluation:
        """Evaluate one architecture within the budget and the limits."""
        started = time.monotonic()
        costs = self.costing.full(architecture)
        violation = self.costing.violation(costs)
        known = costs.known()
        if violation > 0:
            seconds = time.monotonic() - started
            return Evaluation(
                -1, architecture, None, None, "infeasible", seconds=seconds, violation=violation,
                error=self.costing.explain(costs), **known,
            )  # fmt: skip
        spent = time.monotonic() - started
        evaluation = self.evaluator(architecture, budget)
        missing = {name for name in COSTS if not getattr(evaluation, name)}
        if missing.intersection(("n_params", "flops")):
            counted = self.costing.counted(architecture).known()
            known |= {name: value for name, value in counted.items() if name in missing}
        evaluation = replace(
            evaluation,
            seconds=evaluation.seconds + spent,
            setup_seconds=evaluation.setup_seconds + spent,
            **known,
        )
        if len(self.objectives) > 1:
            evaluation = replace(evaluation, values=objective_values(evaluation, self.objectives))
        return evaluation
