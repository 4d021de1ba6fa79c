"""Scores as a predictor should see them: by their ranks, failures and violations included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from autokit.nas.protocols import Evaluation


def normal_scores(keys) -> np.ndarray:
    """Replace each key by the normal quantile of its rank.

    ::

        z_i = Phi^-1((rank_i - 1/2) / n)

    What is left is the order: no matter the unit of the score, how bad the worst are, and whether
    a failure has a score at all.

    Parameters
    ----------
    keys : array of shape (n, m)
        Compared element by element, as tuples are; higher is better. Infinities may be among
        them. Equal keys share the mean of their ranks.

    Returns
    -------
    np.ndarray of shape (n,)
    """
    from scipy.special import ndtri

    _, place, counts = np.unique(np.asarray(keys, float), axis=0, return_inverse=True,
                                 return_counts=True)  # fmt: skip
    ranks = np.cumsum(counts) - (counts - 1) / 2.0
    return ndtri((ranks - 0.5) / len(place))[place.reshape(-1)]


def objectives(evaluations: Sequence[Evaluation]) -> np.ndarray:
    """The objectives of each evaluation as normal scores.

    Within every objective, what violates a constraint comes after all that do not, the nearer
    miss first, and failures last, as in `Evaluation.key`; the loss decides ties of a single one.

    Parameters
    ----------
    evaluations : sequence of Evaluation

    Returns
    -------
    np.ndarray of shape (n, n_objectives)
        One column if no evaluation has several `values`.
    """
    n_objectives = max(len(e.values) for e in evaluations)
    if n_objectives < 2:
        return normal_scores([e.key for e in at_all_epochs(evaluations)])[:, None]
    columns = []
    for j in range(n_objectives):
        keys = []
        for e in evaluations:
            is_fine = e.violation == 0 and len(e.values) == n_objectives
            keys.append(
                (e.values[j], 0.0) if is_fine else (-np.inf, e.key[1] if e.violation else -np.inf)
            )
        columns.append(normal_scores(keys))
    return np.stack(columns, axis=1)


def at_all_epochs(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Correct the scores of trials that a rung ended for the epochs they did not get.

    To the last score of a pruned trial the median gain is added that finished trials made after
    as many epochs. Without that, a predictor would learn where the rule was harsh.

    Parameters
    ----------
    evaluations : sequence of Evaluation

    Returns
    -------
    list of Evaluation
    """
    gains: dict[int, list[float]] = {}
    for e in evaluations:
        if e.status == "complete":
            for epochs, score in e.rungs:
                gains.setdefault(epochs, []).append(e.score - score)
    return [
        replace(e, score=e.score + float(np.median(gains[e.epochs])))
        if e.status == "pruned" and e.score is not None and e.epochs in gains
        else e
        for e in evaluations
    ]
