"""What a search may be scored by, and the most that a scorer can give."""

from __future__ import annotations

import math
from typing import Any

from sklearn.metrics import get_scorer_names

from autokit.names import by_name
from autokit.tuning.evaluation import own_network

# the most that a score can be
HIGHEST = dict.fromkeys(
    """accuracy balanced_accuracy top_k_accuracy average_precision roc_auc roc_auc_ovr roc_auc_ovo
    f1 f1_macro f1_micro f1_weighted precision precision_macro precision_micro recall recall_macro
    recall_micro jaccard matthews_corrcoef r2 explained_variance d2_absolute_error_score""".split(),
    1.0,
)


def check_scoring_names(scoring: Any) -> None:
    """Name the scorer nearest to one that does not exist.

    Raises
    ------
    ValueError
        A name, alone or in a list or dict, is not one of scikit-learn's.
    """
    names = scoring.values() if isinstance(scoring, dict) else scoring
    names = [names] if isinstance(names, str) else names
    if names is None or callable(names):
        return
    known = dict.fromkeys(get_scorer_names())
    for name in names:
        if isinstance(name, str):
            by_name("scoring", name, known, "a callable, or a list or dict of them")


def highest_score(scoring: Any, estimator: Any) -> float:
    """The most that a scorer can give; infinite where nobody knows."""
    if scoring is None:
        return 1.0 if own_network(estimator) is not None else math.inf
    if isinstance(scoring, str):
        return 0.0 if scoring.startswith("neg_") else HIGHEST.get(scoring, math.inf)
    return math.inf


def objectives_of(owner: Any, scorers: Any, metric: Any) -> tuple[tuple[str, ...], str, float]:
    """What is maximised, the metric that pruning looks at, and the most that it can be.

    Parameters
    ----------
    owner : TunerSearchCV
    scorers : callable
        scikit-learn's, of the whole parameter `scoring`.
    metric : str, bool or callable
        What scikit-learn takes for the metric of the refit.
    """
    names = list(getattr(scorers, "_scorers", ()))
    if not names:
        several = callable(owner.scoring) and isinstance(owner.refit, str)
        metric = owner.refit if several else "score"
        return (metric,), metric, highest_score(owner.scoring, owner.estimator)
    if not isinstance(metric, str):  # refit is False or a callable
        metric = names[0]
    finds_fronts = owner.tuner == "nsga2" or type(owner.tuner).__name__.startswith("NSGA")
    scoring = owner.scoring[metric] if isinstance(owner.scoring, dict) else metric
    objectives = tuple(names) if finds_fronts else (metric,)
    return objectives, metric, highest_score(scoring, owner.estimator)
