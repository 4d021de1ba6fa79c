"""The algebra of training: the only home of training loops."""

from autokit.training.batches import Batch, class_weights, split
from autokit.training.constraints import Constraints, Held, Projection
from autokit.training.fit_loop import FitConfig, FitResult, TrainingDiverged, cosine, fit
from autokit.training.forward import Forward, predict
from autokit.training.forward_pool import ForwardPool
from autokit.training.gradients import (
    hessian_vector_product,
    mean_over_tasks,
    per_example_gradients,
    value_and_gradient,
)
from autokit.training.local_sgd import LocalResult, local_sgd, local_updates
from autokit.training.objectives import (
    Objective,
    Step,
    TensorBatch,
    distillation,
    quadratic_penalty,
    task_objective,
)
from autokit.training.programs import clear_programs, more_programs
from autokit.training.regime import Regime
from autokit.training.seeding import seeded
from autokit.training.state import ModelState, restore, snapshot
from autokit.training.updates import (
    UpdateRule,
    adagrad,
    adam,
    apply_changes,
    fed_adam,
    fed_yogi,
    sgd,
    weighted_mean,
)
from autokit.training.watching import Watch, current_watch, watched_by

__all__ = [
    "Batch", "Constraints", "FitConfig", "FitResult", "Forward", "ForwardPool", "Held",
    "LocalResult", "ModelState", "Objective", "Projection", "Regime", "Step", "TensorBatch",
    "TrainingDiverged", "UpdateRule", "Watch", "adagrad", "adam", "apply_changes", "class_weights",
    "clear_programs", "cosine", "current_watch", "distillation", "fed_adam", "fed_yogi", "fit",
    "hessian_vector_product", "local_sgd", "local_updates", "mean_over_tasks", "more_programs",
    "per_example_gradients", "predict",
    "quadratic_penalty", "restore", "seeded", "sgd", "snapshot", "split", "task_objective",
    "value_and_gradient", "watched_by", "weighted_mean",
]  # fmt: skip
