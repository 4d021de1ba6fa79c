"""What a search leaves: every evaluation, the best one, a table and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autokit.nas.architecture import to_json
from autokit.nas.front import front_of, hypervolume_of, plot_front
from autokit.nas.protocols import Evaluation

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

    from autokit.nas.oneshot.history import SupernetHistory

_COLUMNS = ("number", "status", "score", "loss", "epochs", "seconds", "n_params")
_COSTS = ("flops", "memory_bytes", "size_bytes", "latency_ms", "violation")


@dataclass(frozen=True)
class SearchResult:
    """The evaluations of a search.

    Parameters
    ----------
    evaluations : tuple of Evaluation
        In the order of their numbers.
    stopped : {"max_trials", "epochs", "time_budget", "exhausted", "interrupted"}
        Why the search ended; "epochs": a one-shot method made all of its supernet's.
    supernet : SupernetHistory or None, default=None
        Of a one-shot method, what its supernet went through.
    objectives : tuple of str, default=("score", "n_params")
        What the Pareto front is of, unless other ones are asked for: "score", "latency_ms",
        "n_params", "flops", "size_bytes", "memory_bytes".
    """

    evaluations: tuple[Evaluation, ...]
    stopped: str
    supernet: SupernetHistory | None = None
    objectives: tuple[str, ...] = ("score", "n_params")

    @property
    def best(self) -> Evaluation:
        """The highest score of the trials that no rung ended; ties by the lower loss."""
        return best_of(self.evaluations)

    @property
    def best_score(self) -> float:
        """Score of the best evaluation."""
        return self.best.score

    @property
    def pruned_share(self) -> float:
        """Share of the trials that a rung ended."""
        return float(np.mean([e.status == "pruned" for e in self.evaluations]))

    @property
    def ranking(self) -> tuple[Evaluation, ...]:
        """The evaluations with a score that exceed no constraint, the best first."""
        usable = [e for e in self.evaluations if e.violation == 0 and e.score is not None]
        return tuple(sorted(usable, key=lambda e: (e.rank, -e.number), reverse=True))

    def to_frame(self) -> pd.DataFrame:
        """Every evaluation as a row.

        Returns
        -------
        pandas.DataFrame
            Columns number, status, score, loss, epochs, seconds, n_params, best_so_far, the
            costs flops, memory_bytes, size_bytes, latency_ms and violation, those of them that
            are known of any, the fields of the architecture, and error.
        """
        import pandas as pd

        known = [c for c in _COSTS if any(getattr(e, c) for e in self.evaluations)]
        rows = []
        for evaluation, best in zip(self.evaluations, self._best_so_far(), strict=True):
            row: dict[str, Any] = {name: getattr(evaluation, name) for name in _COLUMNS}
            row["best_so_far"] = best
            row |= {name: getattr(evaluation, name) for name in known}
            fields = to_json(evaluation.architecture)
            row |= fields if isinstance(fields, dict) else {"architecture": fields}
            row["error"] = evaluation.error
            rows.append(row)
        frame = pd.DataFrame(rows)
        floats = ["score", "loss", "best_so_far", *known]
        return frame.astype(dict.fromkeys(floats, float))

    def pareto_front(self, objectives: Sequence[str] | None = None) -> pd.DataFrame:
        """The evaluations that no other is at least as good as in every objective.

        Parameters
        ----------
        objectives : sequence of str or None, default=None
            By default the search's. Scores are better the higher, costs the lower.

        Returns
        -------
        pandas.DataFrame
            As `to_frame`, the best in the first objective first. Pruned and infeasible trials
            are left out; of several with the same values the earliest is there.
        """
        frame = self.to_frame().set_index("number", drop=False).rename_axis(None)
        front = front_of(self.evaluations, objectives or self.objectives)
        return frame.loc[[e.number for e in front]].reset_index(drop=True)

    def hypervolume(
        self,
        objectives: Sequence[str] | None = None,
        *,
        reference: Mapping[str, float] | None = None,
    ) -> float:
        """Volume that the Pareto front covers, in the product of the objectives' units.

        Parameters
        ----------
        objectives : sequence of str or None, default=None
            By default the search's.
        reference : mapping of str to float or None, default=None
            A bad value for each objective, for example ``{"score": 0.5, "latency_ms": 10}``;
            needed to compare searches. By default the worst that this search has seen.

        Raises
        ------
        ValueError
            `reference` names other objectives.
        """
        return hypervolume_of(self.evaluations, objectives or self.objectives, reference)

    def plot_pareto(self, path=None, *, objectives=None) -> matplotlib.figure.Figure:
        """Draw the first objective over the others, with the Pareto front.

        Parameters
        ----------
        path : str, path-like or None, default=None
            Where to save the picture; its ending names the format.
        objectives : sequence of str or None, default=None
            By default the search's; at least two.

        Returns
        -------
        matplotlib.figure.Figure
        """
        return plot_front(self.evaluations, objectives or self.objectives, path)

    def plot_history(self, path=None) -> matplotlib.figure.Figure:
        """Draw the score of every trial and of the best so far.

        Parameters
        ----------
        path : str, path-like or None, default=None
            Where to save the picture; its ending names the format.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for status, marker in _MARKERS.items():
            group = [e for e in self.evaluations if e.status == status and e.score is not None]
            if group:
                points = [e.number for e in group], [e.score for e in group]
                axes.plot(*points, marker, label=status, markersize=5, alpha=0.8)
        numbers = [e.number for e in self.evaluations]
        axes.step(numbers, self._best_so_far(), where="post", color="black", label="best so far")
        axes.set_xlabel("trial")
        axes.set_ylabel("validation score")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        if path is not None:
            figure.savefig(path, dpi=150)
        return figure

    def _best_so_far(self) -> list[float]:
        scores, best = [], None
        for evaluation in self.evaluations:
            if best is None or evaluation.rank > best.rank:
                best = evaluation
            scores.append(np.nan if best.score is None else best.score)
        return scores


_MARKERS = {"complete": "o", "pruned": "x", "timeout": "^"}


def best_of(evaluations) -> Evaluation:
    """The evaluation of the greatest rank, the earliest of equals."""
    return max(evaluations, key=lambda e: (e.rank, -e.number))
