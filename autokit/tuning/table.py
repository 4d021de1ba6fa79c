"""`cv_results_`: the trials of a search in the columns of `GridSearchCV`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from autokit.tuning.space import Space
from autokit.tuning.trial import COMPLETE, FAILED, Trial


def cv_results(
    trials: Sequence[Trial], space: Space, n_splits: int, error_score: Any = np.nan
) -> dict[str, Any]:
    """The table of a search.

    Parameters
    ----------
    trials : sequence of Trial
        One row each.
    space : Space
    n_splits : int
    error_score : float or "raise"
        Of failed trials.

    Returns
    -------
    dict of str to array
        ``mean_fit_time, std_fit_time, mean_score_time, std_score_time, param_*, params,
        split*_test_*, mean_test_*, std_test_*, rank_test_*`` (and the same of train scores), as
        `GridSearchCV` has them; ``status`` and ``epochs``. A fold that was not run is NaN, and so
        is the mean of a trial that was pruned; such trials share the last rank.
    """
    results: dict[str, Any] = {}
    for key in ("fit_time", "score_time"):
        times = [getattr(trial, f"{key}s") for trial in trials]
        results[f"mean_{key}"] = np.array([np.mean(t) if t else np.nan for t in times])
        results[f"std_{key}"] = np.array([np.std(t) if t else np.nan for t in times])
    params = [space.parameters(trial.values) for trial in trials]
    for name in dict.fromkeys(entry.parameter for entry in space if entry.parameter):
        results[f"param_{name}"] = _column(name, params)
    results["params"] = params
    metrics = next((list(t.scores[0]) for t in trials if t.scores), ["score"])
    for metric in metrics:
        _store(results, f"test_{metric}", metric, "scores", trials, n_splits, error_score)
    if any(trial.train_scores for trial in trials):
        for metric in metrics:
            _store(
                results, f"train_{metric}", metric, "train_scores", trials, n_splits, error_score
            )
    results["status"] = np.array([trial.status for trial in trials])
    results["epochs"] = np.array([trial.epochs for trial in trials])
    return results


def _column(name: str, params: list[dict]) -> np.ma.MaskedArray:
    """A parameter's values, masked where a trial does not have it."""
    values = [p.get(name) for p in params]
    mask = [name not in p for p in params]
    present = [value for value, is_absent in zip(values, mask, strict=True) if not is_absent]
    kinds = {type(value) for value in present}
    plain = kinds and kinds <= {bool} or kinds <= {int} or kinds <= {int, float}
    dtype: Any = np.result_type(*kinds) if plain and kinds else object
    column = np.ma.MaskedArray(np.empty(len(params), dtype), mask=mask)
    for i, value in enumerate(values):
        if not mask[i]:
            column.data[i] = value
        elif dtype is not object:
            column.data[i] = 0
    return column


def _store(results, key, metric, of, trials, n_splits, error_score) -> None:
    scores = np.full((len(trials), n_splits), np.nan)
    for i, trial in enumerate(trials):
        folds = getattr(trial, of)
        scores[i, : len(folds)] = [fold[metric] for fold in folds]
        if trial.status == FAILED and error_score != "raise":
            scores[i, len(folds) :] = error_score
    for k in range(n_splits):
        results[f"split{k}_{key}"] = scores[:, k]
    complete = np.array([trial.status in (COMPLETE, FAILED) for trial in trials])
    means = np.where(complete, scores.mean(axis=1), np.nan)
    results[f"mean_{key}"] = means
    results[f"std_{key}"] = np.where(complete, scores.std(axis=1), np.nan)
    if key.startswith("test_"):
        results[f"rank_{key}"] = _ranks(means)


def _ranks(means: np.ndarray) -> np.ndarray:
    if np.isnan(means).all():
        return np.ones(len(means), np.int32)
    filled = np.nan_to_num(means, nan=np.nanmin(means) - 1)
    return rankdata(-filled, method="min").astype(np.int32)
