"""Pictures of what was kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import matplotlib.figure


def plot_forgetting(model: Any, path=None, ax=None) -> matplotlib.figure.Figure:
    """Draw the score on each experience, from when it was learnt, and the average of all.

    Parameters
    ----------
    model : ContinualModel or ContinualRegressor
        Fitted, with rows held out.
    path : str, path-like or None, default=None
        Where to save the picture; its ending names the format.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; a figure of its own by default.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        Nothing was measured.

    Examples
    --------
    >>> import numpy as np
    >>> from autokit import ContinualModel
    >>> from autokit.continual import plot_forgetting
    >>> X, y = np.random.default_rng(0).normal(size=(80, 2)), np.arange(80) % 4
    >>> model = ContinualModel(epochs=1, random_state=0).fit(X, y, task_ids=y // 2)
    >>> len(plot_forgetting(model).axes[0].lines)
    3
    """
    from matplotlib.figure import Figure

    scores = np.where(np.tri(len(model.score_matrix_), dtype=bool), model.score_matrix_, np.nan)
    is_measured = ~np.isnan(scores)
    if not is_measured.any():
        raise ValueError(
            "No scores were measured, because no rows were held out; set validation_fraction "
            "above 0 and pass at least 20 rows an experience."
        )
    if ax is None:
        ax = Figure(figsize=(7, 4), layout="constrained").subplots()
    figure = ax.get_figure()
    numbers = np.arange(1, len(scores) + 1)
    for number, task in enumerate(model.tasks_):
        if is_measured[:, number].any():
            line = numbers[number:], scores[number:, number]
            ax.plot(*line, marker="o", markersize=4, alpha=0.8, label=_label(model, number, task))
    counts = is_measured.sum(axis=1)
    average = np.where(counts > 0, np.nansum(scores, axis=1) / np.maximum(counts, 1), np.nan)
    ax.plot(numbers, average, color="black", linewidth=2, label="average")
    ax.set_xlabel("experiences learnt")
    ax.set_ylabel("accuracy on held-out rows" if model._classifies else "R2 on held-out rows")
    ax.xaxis.get_major_locator().set_params(integer=True)
    name, forgetting = type(model.strategy_).__name__, model.forgetting_
    ax.set_title(name if np.isnan(forgetting) else f"{name}: forgetting {forgetting:.3f}")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=1 + len(scores) // 15)
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _label(model, number: int, task) -> str:
    """The task's name; with the number of the experience where it came more than once."""
    if model.tasks_.count(task) > 1:
        return f"task {task} ({number + 1})"
    return f"task {task}"
