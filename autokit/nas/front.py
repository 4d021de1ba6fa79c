"""The Pareto front of a search: its evaluations, its volume, its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autokit.nas.hardware.constraints import check_objectives, objective_values
from autokit.nas.pareto import hypervolume, non_dominated
from autokit.nas.protocols import Evaluation

if TYPE_CHECKING:
    import matplotlib.figure

LABELS = {
    "score": "validation score",
    "latency_ms": "latency, ms",
    "n_params": "parameters",
    "flops": "FLOPs",
    "size_bytes": "file size, bytes",
    "memory_bytes": "activation memory, bytes",
}


def candidates(evaluations: Sequence[Evaluation], objectives: Sequence[str]) -> list[Evaluation]:
    """The evaluations that may be on a front: finished, feasible, all objectives known."""
    return [
        e
        for e in evaluations
        if e.status in ("complete", "timeout")
        and e.violation == 0
        and objective_values(e, objectives)
    ]


def front_of(evaluations: Sequence[Evaluation], objectives: Sequence[str]) -> list[Evaluation]:
    """The candidates that no other is better than in every objective; best first objective first.

    Of several with the same values the earliest is taken.
    """
    found = {}
    for evaluation in candidates(evaluations, objectives):
        found.setdefault(objective_values(evaluation, objectives), evaluation)
    if not found:
        return []
    best = non_dominated(np.array(list(found)))
    front = [
        (values, e) for (values, e), is_best in zip(found.items(), best, strict=True) if is_best
    ]
    return [e for _, e in sorted(front, key=lambda pair: pair[0], reverse=True)]


def hypervolume_of(
    evaluations: Sequence[Evaluation],
    objectives: Sequence[str],
    reference: Mapping[str, float] | None = None,
) -> float:
    """Volume between the front and a point that is bad in all objectives."""
    objectives = check_objectives(objectives)
    values = [objective_values(e, objectives) for e in candidates(evaluations, objectives)]
    if not values:
        return 0.0
    return hypervolume(values, _reference(values, objectives, reference))


def _reference(values, objectives, reference) -> np.ndarray:
    if reference is None:
        return np.min(values, axis=0)
    given = dict(zip(check_objectives(tuple(reference)), reference.values(), strict=True))
    if given.keys() != set(objectives):
        raise ValueError(
            f"reference must give a value for each of {', '.join(objectives)}; got "
            f"{', '.join(given)}."
        )
    return np.array([given[name] * (1 if name == "score" else -1) for name in objectives], float)


def plot_front(
    evaluations: Sequence[Evaluation], objectives: Sequence[str], path: Any = None
) -> matplotlib.figure.Figure:
    """Draw the first objective over each of the others, all evaluations and the front."""
    from matplotlib.figure import Figure

    first, *others = check_objectives(objectives)
    if not others:
        raise ValueError(
            f"objectives must be at least two for a picture of their front; got {(first,)}. Set "
            "objectives=('score', 'latency_ms'), for example."
        )
    figure = Figure(figsize=(1 + 5 * len(others), 4), layout="constrained")
    everything = candidates(evaluations, objectives)
    front = front_of(evaluations, objectives)
    panels = np.ravel(figure.subplots(1, len(others), sharey=True))
    for axes, other in zip(panels, others, strict=True):
        for group, style in (
            (everything, {"color": "0.7", "s": 18, "label": "evaluated"}),
            (front, {"color": "tab:red", "s": 30, "label": "not dominated"}),
        ):
            axes.scatter(
                [getattr(e, other) for e in group], [getattr(e, first) for e in group], **style
            )
        if len(others) == 1:
            x, y = ([getattr(e, name) for e in front] for name in (other, first))
            axes.step(x[::-1], y[::-1], where="post", color="tab:red", linewidth=1)
        axes.set_xlabel(LABELS[other])
    panels[0].set_ylabel(LABELS[first])
    panels[0].legend()
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure
