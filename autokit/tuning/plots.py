"""Pictures of a search, drawn by Optuna whichever tuner it had."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from sklearn.utils.validation import check_is_fitted

from autokit.names import did_you_mean
from autokit.tuning.rebuilt import rebuilt_study


def plot_optimization_history(search: Any, path=None, *, metric: str | None = None) -> Any:
    """Draw the score of every trial, and the best so far.

    Parameters
    ----------
    search : TunerSearchCV
        Fitted, with any tuner.
    path : str, path-like or None, default=None
        Where to save the picture. Its ending names the format: ``.png``, ``.svg``, ``.pdf``, or
        ``.html`` for an interactive page (which needs plotly: ``pip install 'autokit[plots]'``).
    metric : str or None, default=None
        One of `search.objectives_`; the first by default.

    Returns
    -------
    matplotlib.figure.Figure
        Or a plotly figure, for a path that ends in ``.html``.

    Raises
    ------
    ValueError
        No such metric was searched for, or there is nothing to draw.
    ImportError
        The page needs plotly, which is not installed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> from autokit.tuning import Int, TunerSearchCV, plot_optimization_history
    >>> search = TunerSearchCV(
    ...     DecisionTreeClassifier(), {"max_depth": Int(1, 4)}, n_trials=3, cv=2, random_state=0
    ... ).fit(*load_iris(return_X_y=True))
    >>> plot_optimization_history(search).axes[0].get_ylabel()
    'score'
    """
    _need_complete(search, 1)
    return _drawn("plot_optimization_history", search, path, (8, 4.5), metric=metric)


def plot_param_importances(search: Any, path=None, *, metric: str | None = None) -> Any:
    """Draw how much of the score's variance each parameter explains (fANOVA).

    Parameters that only some trials have, and those with a single value, are left out.

    Parameters
    ----------
    search, path, metric
        As `plot_optimization_history`.

    Returns
    -------
    matplotlib.figure.Figure or plotly figure

    Raises
    ------
    ValueError
        Fewer than two trials are complete, all have one score, or no parameter is in all of them.

    References
    ----------
    Hutter, Hoos, Leyton-Brown: An Efficient Approach for Assessing Hyperparameter Importance,
    ICML 2014.
    """
    from optuna.importance import FanovaImportanceEvaluator

    complete = _need_complete(search, 2)
    if len({trial.mean(_metric(search, metric)) for trial in complete}) == 1:
        raise ValueError("All complete trials have the same score: no parameter explains it.")
    common = [name for name in _names(search) if all(name in t.values for t in complete)]
    if not common:
        raise ValueError(
            "No parameter is in all complete trials; importances need one that always exists."
        )
    size = (7, 1.8 + 0.4 * len(common))
    evaluator = FanovaImportanceEvaluator(seed=0)
    return _drawn(
        "plot_param_importances",
        search,
        path,
        size,
        metric=metric,
        evaluator=evaluator,
        params=common,
    )


def plot_parallel_coordinate(
    search: Any, path=None, *, params: Sequence[str] | None = None, metric: str | None = None
) -> Any:
    """Draw every complete trial as a line across its parameters, coloured by its score.

    Parameters
    ----------
    search, path, metric
        As `plot_optimization_history`.
    params : sequence of str or None, default=None
        Which parameters; by default all that are in every complete trial.

    Returns
    -------
    matplotlib.figure.Figure or plotly figure

    Raises
    ------
    ValueError
        A name is no searched parameter, or no trial is complete.
    """
    complete = _need_complete(search, 1)
    names = _names(search, params)
    if params is None:
        names = [name for name in names if all(name in t.values for t in complete)] or names
    size = (3 + 1.8 * len(names), 5)
    return _drawn("plot_parallel_coordinate", search, path, size, metric=metric, params=names)


def plot_slice(
    search: Any, path=None, *, params: Sequence[str] | None = None, metric: str | None = None
) -> Any:
    """Draw the score of every complete trial against each parameter.

    Parameters
    ----------
    search, path, params, metric
        As `plot_parallel_coordinate`; by default all parameters.

    Returns
    -------
    matplotlib.figure.Figure or plotly figure

    Raises
    ------
    ValueError
        As `plot_parallel_coordinate`.
    """
    _need_complete(search, 1)
    names = _names(search, params)
    size = (1.5 + 3 * len(names), 4)
    return _drawn("plot_slice", search, path, size, metric=metric, params=names)


def plot_intermediate_values(search: Any, path=None) -> Any:
    """Draw what pruning has seen of every trial: the mean score so far, step by step.

    A step is an epoch of a fold; the steps of the second fold follow those of the first.

    Parameters
    ----------
    search, path
        As `plot_optimization_history`.

    Returns
    -------
    matplotlib.figure.Figure or plotly figure

    Raises
    ------
    ValueError
        Nothing was looked at during the trials, as with ``pruner=None``.
    """
    check_is_fitted(search, "trials_")
    if not any(trial.steps for trial in search.trials_):
        raise ValueError(
            "No trial has intermediate values, because none was looked at before its end; set "
            "'pruner', and one metric to search for."
        )
    study = search.study_
    return _drawn("plot_intermediate_values", search, path, (8, 4.5), study=study)


def plot_pareto_front(search: Any, path=None, *, metrics: Sequence[str] | None = None) -> Any:
    """Draw the trials of a search for several metrics, and the front that no other beats.

    Parameters
    ----------
    search, path
        As `plot_optimization_history`.
    metrics : sequence of two or three str or None, default=None
        Of `search.objectives_`; all by default.

    Returns
    -------
    matplotlib.figure.Figure or plotly figure

    Raises
    ------
    ValueError
        The search was for a single metric, or there are more than can be drawn.
    """
    _need_complete(search, 1)
    if len(search.objectives_) < 2:
        raise ValueError(
            "A front needs several metrics, and this search was for "
            f"{search.objectives_[0]!r} alone; set tuner='nsga2' and several in 'scoring'."
        )
    metrics = [_metric(search, name) for name in metrics or search.objectives_]
    if len(metrics) not in (2, 3):
        raise ValueError(f"A front can be drawn of 2 or 3 metrics; got {metrics!r}.")
    return _drawn(
        "plot_pareto_front",
        search,
        path,
        (7, 5),
        study=rebuilt_study(search.trials_, search._space, metrics),
        target_names=metrics,
    )


def _drawn(
    name: str,
    search: Any,
    path: Any,
    size: tuple[float, float],
    *,
    metric: str | None = None,
    study: Any = None,
    **settings: Any,
) -> Any:
    if study is None:  # of one objective: then Optuna knows which values are the good ones
        metric = _metric(search, metric)
        study = rebuilt_study(search.trials_, search._space, (metric,))
        settings["target_name"] = metric
    is_page = path is not None and os.fspath(path).endswith((".html", ".htm"))
    if is_page and importlib.util.find_spec("plotly") is None:
        raise ImportError(
            f"{os.fspath(path)} needs plotly, which is not installed: pip install "
            "'autokit[plots]', or save a .png."
        )
    from autokit.tuning.search import quiet_optuna

    with warnings.catch_warnings(), quiet_optuna():
        from optuna.exceptions import ExperimentalWarning

        warnings.simplefilter("ignore", ExperimentalWarning)  # all of Optuna's pictures are
        if is_page:
            from optuna import visualization

            figure = getattr(visualization, name)(study, **settings)
            figure.write_html(os.fspath(path))
            return figure
        from optuna.visualization import matplotlib as pictures

        figure = _figure(lambda: getattr(pictures, name)(study, **settings), size)
    if path is not None:
        figure.savefig(path, dpi=150, bbox_inches="tight")
    return figure


def _figure(draw: Callable[[], Any], size: tuple[float, float]) -> Any:
    """A figure of its own; Optuna draws into pyplot's, and changes its style for good."""
    import matplotlib.pyplot as plt
    import numpy as np

    with plt.style.context({}):
        axes = np.ravel(draw())
        figure = axes[0].get_figure()
        plt.close(figure)
    figure.set_size_inches(size)
    for ax in figure.axes:
        _make_legible(ax, size)
    return figure


def _make_legible(ax: Any, size: tuple[float, float]) -> None:
    """Turn the names of choices where they would overlap; no legend longer than the picture."""
    from matplotlib.category import StrCategoryFormatter
    from matplotlib.patheffects import withStroke

    if isinstance(ax.xaxis.get_major_formatter(), StrCategoryFormatter):
        names = [label.get_text() for label in ax.get_xticklabels()]
        if sum(map(len, names)) > 18:
            ax.tick_params(axis="x", labelrotation=30)
            for label in ax.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
    for label in ax.get_yticklabels(which="both"):  # lines of parallel coordinates cross them
        label.set_path_effects([withStroke(linewidth=2, foreground="white")])
    legend = ax.get_legend()
    if legend is not None and len(legend.get_texts()) > 4 * size[1]:
        legend.remove()


def _need_complete(search: Any, n: int) -> list:
    check_is_fitted(search, "trials_")
    complete = [trial for trial in search.trials_ if trial.status == "complete"]
    if len(complete) < n:
        raise ValueError(
            f"The picture needs {n} complete trial{'s' * (n > 1)}; the search has "
            f"{len(complete)}. Raise 'n_trials' or 'time_budget_s', or set pruner=None."
        )
    return complete


def _metric(search: Any, metric: str | None) -> str:
    known = search.objectives_
    if metric is None:
        return known[0]
    if metric not in known:
        raise ValueError(
            f"{metric!r} was not searched for; known are {', '.join(map(repr, known))}."
            f"{did_you_mean(metric, known)}"
        )
    return metric


def _names(search: Any, params: Sequence[str] | None = None) -> list[str]:
    """Entries of the space that vary, or those that are asked for by entry or parameter."""
    entries = list(search._space)
    if params is None:
        labels = [(entry.name, getattr(entry.dimension, "labels", (0, 0))) for entry in entries]
        return [name for name, known in labels if len(known) > 1] or [entries[0].name]
    names = []
    for asked in params:
        found = [entry.name for entry in entries if asked in (entry.name, entry.parameter)]
        if not found:
            known = [entry.name for entry in entries]
            raise ValueError(
                f"{asked!r} is not searched; known are {', '.join(map(repr, known))}."
                f"{did_you_mean(asked, known)}"
            )
        names += found
    return names
