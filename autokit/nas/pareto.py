"""The algebra of several objectives: dominance, crowding, hypervolume. Higher is always better."""

from __future__ import annotations

import numpy as np


def non_dominated(values) -> np.ndarray:
    """Which points no other point beats.

    ::

        a dominates b:  a_j >= b_j for all objectives j, and a != b

    Parameters
    ----------
    values : array of shape (n_points, n_objectives)
        Higher is better.

    Returns
    -------
    np.ndarray of bool, shape (n_points,)
        True for the points of the Pareto front; equal points are all on it or all off it.

    Raises
    ------
    ValueError
        `values` has not two axes, or holds NaN.

    Examples
    --------
    >>> non_dominated([[1, 2], [2, 1], [1, 1]])
    array([ True,  True, False])
    """
    values = _points(values)
    unique, back = np.unique(values, axis=0, return_inverse=True)
    best = np.zeros(len(unique), bool)
    # whoever dominates a point comes after it in this order, so it is enough to look at the front
    front = np.empty((0, values.shape[1]))
    for i in range(len(unique) - 1, -1, -1):
        if not (front >= unique[i]).all(axis=1).any():
            best[i] = True
            front = np.vstack([front, unique[i]])
    return best[back.reshape(-1)]


def fronts(values) -> np.ndarray:
    """How many layers of non-dominated points lie before each point.

    Parameters
    ----------
    values : array of shape (n_points, n_objectives)

    Returns
    -------
    np.ndarray of int, shape (n_points,)
        0 for the front, 1 for the front of the others, and so on.

    References
    ----------
    Deb, Pratap, Agarwal, Meyarivan, "A Fast and Elitist Multiobjective Genetic Algorithm:
    NSGA-II", IEEE Transactions on Evolutionary Computation 6(2), 2002, section III A.

    Examples
    --------
    >>> fronts([[1, 2], [2, 1], [1, 1], [0, 0]])
    array([0, 0, 1, 2])
    """
    values = _points(values)
    a, b = values[:, None], values[None]
    dominates = (a >= b).all(axis=2) & (a > b).any(axis=2)  # (dominating, dominated)
    layer, remaining, number = np.zeros(len(values), int), dominates.sum(axis=0), 0
    current = remaining == 0
    while current.any():
        layer[current] = number
        remaining = remaining - dominates[current].sum(axis=0)
        remaining[current] = -1
        current, number = remaining == 0, number + 1
    return layer


def crowding_distance(values) -> np.ndarray:
    """How far apart each point's neighbours are: the sum of the sides of the box between them.

    Parameters
    ----------
    values : array of shape (n_points, n_objectives)
        Of one front.

    Returns
    -------
    np.ndarray of float, shape (n_points,)
        Infinite for the points at the ends of an objective.

    References
    ----------
    Deb et al. 2002, section III B.
    """
    values = _points(values)
    distance = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        width = column[order[-1]] - column[order[0]] if len(order) else 0.0
        distance[order[:1]] = distance[order[-1:]] = np.inf
        if width > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / width
    return distance


def hypervolume(values, reference) -> float:
    """Volume between a reference point and the points that are better than it.

    Exact for any number of objectives: a sweep for two, slices along the last objective for more.

    Parameters
    ----------
    values : array of shape (n_points, n_objectives)
    reference : array of shape (n_objectives,)
        A bad point; what is not better than it in every objective adds nothing.

    Returns
    -------
    float
        In the product of the objectives' units.

    Raises
    ------
    ValueError
        `values` has not two axes or holds NaN, or `reference` another number of objectives.

    Examples
    --------
    >>> hypervolume([[1, 2], [2, 1]], (0, 0))
    3.0
    """
    values, reference = _points(values), np.asarray(reference, float)
    if reference.shape != values.shape[1:]:
        raise ValueError(
            f"reference must have one number for each of the {values.shape[1]} objectives; got "
            f"shape {reference.shape}."
        )
    return _volume(np.maximum(values - reference, 0.0))


def _volume(points: np.ndarray) -> float:
    """Hypervolume of non-negative points over the origin."""
    points = points[(points > 0).all(axis=1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1], kind="stable")]
    depths = points[:, -1] - np.append(points[1:, -1], 0.0)
    if points.shape[1] == 2:
        return float(depths @ np.maximum.accumulate(points[:, 0]))
    # between the depths of two successive points the cut is the same: that of those above it
    slices = (_volume(points[: i + 1, :-1]) for i in np.flatnonzero(depths))
    return float(sum(d * v for d, v in zip(depths[depths > 0], slices, strict=True)))


def _points(values) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 2:
        raise ValueError(
            f"values must have shape (n_points, n_objectives); got shape {values.shape}."
        )
    if np.isnan(values).any():
        raise ValueError("values must not hold NaN; leave failed evaluations out.")
    return values
