"""Pruning by magnitude: the smallest weights become zeros while the others learn to do without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from autokit.compression import tfmot
from autokit.compression.kernels import Layers
from autokit.compression.method import CompressionMethod, Outcome, as_verb
from autokit.compression.sparsity import (
    Plan,
    checked_pattern,
    choose,
    cooled,
    enforce,
    faster,
    thinning,
)
from autokit.compression.task import Task
from autokit.layers import copied
from autokit.training import Held

# Tried by sparsity="auto"
LADDER = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97)
_DROP = 0.01  # allowed by sparsity="auto" unless the user says otherwise


@dataclass(kw_only=True, eq=False, repr=False)
class Prune(CompressionMethod):
    """Prune by magnitude, with TFMOT's schedules and masks.

    After each step of the training, in the compiled graph::

        if the schedule says so: mask = the largest (1 - sparsity(step)) of |w|, a kernel at a time
        w = w * mask

    The default schedules take half of the steps; the masks are fixed in the other half. Every
    chosen kernel is then as sparse as asked, to a whole weight (block), and further fitting keeps
    its zeros. Prune before you cluster: shared values of a pruned kernel are let go.

    Parameters
    ----------
    sparsity : float in (0, 1) or "auto", default=0.8
        Share of zeros in each kernel. "auto" finds the highest on a ladder from 0.3 to 0.97, by
        bisection, whose score on the held-out rows is within `max_score_drop` (0.01 if that is
        None); its steps are in ``report.details["path"]``. A kernel that is sparser already stays
        so.
    schedule : {"polynomial", "constant"} or a TFMOT PruningSchedule, default="polynomial"
        From 0 by a cubic, or at once. A schedule of TFMOT counts training steps from 0 and has a
        sparsity of its own, which holds instead of `sparsity`.
    block_size : tuple of two ints, default=(1, 1)
        Inputs and outputs of blocks that are zeroed as a whole, by their mean magnitude.
        (4, 1) and (16, 1) are what TensorFlow Lite has sparse kernels for.
    m_by_n : tuple of two ints (m, n) or None, default=None
        m zeros in each n weights along the inputs, as (2, 4); holds instead of `sparsity`.
    layers : "auto" or callable, default="auto"
        "auto" is every kernel of at least 500 numbers except depthwise ones and embeddings, and
        except those that `block_size` does not divide; a predicate of a layer chooses itself.
    epochs : int, default=40
        Fewer do for many rows: what counts are the steps, some 1,000 or more.
    learning_rate : float or None, default=None
        Until the schedule's usual end, then a cosine to zero; None is three times the
        estimator's.
    batch_size, validation_fraction, max_score_drop, random_state
        As for `CompressionMethod`.

    Raises
    ------
    ValueError
        If a parameter is out of range, no kernel is chosen, `block_size` does not divide a chosen
        kernel, or the schedule goes on after the training.
    ImportError
        If tensorflow-model-optimization lacks the parts this needs.

    References
    ----------
    Zhu and Gupta, "To prune, or not to prune", 2017, section 3.

    Examples
    --------
    >>> from autokit import KerasClassifier
    >>> from autokit.compression import prune
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> dense = KerasClassifier(epochs=2, random_state=0).fit(X, y)
    >>> sparse = prune(dense, X, y, sparsity=0.8, epochs=2)
    >>> round(sparse.compression_report_.mean_sparsity, 2)
    0.8
    """

    sparsity: Any = 0.8
    schedule: Any = "polynomial"
    block_size: Any = (1, 1)
    m_by_n: Any = None
    layers: Layers = "auto"
    epochs: int = 40

    _parameter_constraints = CompressionMethod._parameter_constraints | {
        "sparsity": [Interval(Real, 0, 1, closed="neither"), StrOptions({"auto"})],
        "schedule": [StrOptions({"polynomial", "constant"}), HasMethods(["get_config"])],
        "block_size": [tuple, list],
        "m_by_n": [None, tuple, list],
        "layers": [StrOptions({"auto"}), callable],
    }

    def _compress(self, task: Task) -> Outcome:
        self._check_schedule()
        if self.learning_rate is None:
            faster(task)
        if self.sparsity != "auto" or self.m_by_n is not None:
            return self._prune(task, self.sparsity)
        drop = _DROP if self.max_score_drop is None else self.max_score_drop
        return _highest(task, self._prune, drop)

    def _prune(self, task: Task, sparsity: float) -> Outcome:
        pattern = checked_pattern(self.block_size, self.m_by_n)
        chosen, left_alone = choose(task.model, self.layers, pattern)
        if pattern.m_by_n is not None:
            sparsity = pattern.m_by_n[0] / pattern.m_by_n[1]
        plan = Plan.over(task.steps(self.epochs), self.schedule, sparsity)
        target = sparsity if pattern.m_by_n else plan.target
        constraints = thinning(chosen, plan, pattern, task.held.zeros)
        task.tune(self.epochs, constraints=constraints, schedule=cooled)
        enforce(task.model, chosen, target, pattern)
        places = {kernel.place for kernel in chosen}
        held = Held(
            zeros=tuple(sorted(places.union(task.held.zeros))),
            clusters=tuple(i for i in task.held.clusters if i not in places),
        )
        details = {
            "sparsity": target,
            "kernels": [kernel.path for kernel in chosen],
            "left_alone": left_alone,
        }
        return Outcome(task.model, held, details)

    def _check_schedule(self) -> None:
        if isinstance(self.schedule, str):
            return
        if not tfmot.is_schedule(self.schedule):
            raise ValueError(
                "schedule must be 'polynomial', 'constant' or a PruningSchedule of "
                f"tensorflow_model_optimization; got a {type(self.schedule).__name__}."
            )
        if self.sparsity == "auto":
            raise ValueError(
                "schedule must be 'polynomial' or 'constant' with sparsity='auto'; one of TFMOT "
                "has a sparsity of its own."
            )


prune = as_verb(Prune, "prune", "Prune by magnitude.")


def _highest(task: Task, prune_to: Callable[[Task, float], Outcome], max_drop: float) -> Outcome:
    """The sparsest outcome on the ladder that costs at most `max_drop`; else the least sparse."""
    floor = task.score() - max_drop
    path: list[dict[str, Any]] = []
    best: Outcome | None = None
    fallback: Any = None
    low, high = 0, len(LADDER)  # rungs below `low` hold, those from `high` on do not
    while low < high:
        rung = (low + high) // 2
        outcome = prune_to(replace(task, model=copied(task.model)), LADDER[rung])
        score = task.score(outcome.model)
        path.append({"sparsity": LADDER[rung], "score": score, "kept": score >= floor})
        if score >= floor:
            best, low = outcome, rung + 1
        else:
            high = rung
            fallback = outcome
    chosen = fallback if best is None else best
    return replace(chosen, details=chosen.details | {"path": path})
