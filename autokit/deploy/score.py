"""How often a file is right: accuracy of classes, R2 of numbers. Needs NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from autokit.deploy.proof import are_probabilities


def score_of(subject: Any, outputs: np.ndarray, y: Any) -> tuple[str, float]:
    """Score outputs against targets.

    Parameters
    ----------
    subject : Subject
        Whose outputs they are.
    outputs : ndarray of shape (n_samples, n_outputs)
        Class probabilities, or numbers in the target's units.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets. For a plain model that gives probabilities, integer classes.

    Returns
    -------
    name : {"accuracy", "r2"}
        What the figure is. R2 is the mean over outputs; of a constant target it is 1 if it is
        met and 0 if not.
    value : float
        The figure.

    Raises
    ------
    ValueError
        If `y` does not fit the outputs.
    """
    y = np.asarray(y)
    if len(y) != len(outputs):
        raise ValueError(f"y has {len(y)} targets for {len(outputs)} rows; pass one for each row.")
    if subject.is_classifier or (subject.estimator is None and _are_classes(y, outputs)):
        chosen = outputs.argmax(axis=1)
        predicted = subject.estimator.classes_[chosen] if subject.is_classifier else chosen
        return "accuracy", float(np.mean(predicted == y.reshape(len(y))))
    y = y.reshape(len(y), -1).astype(np.float64)
    outputs = outputs.reshape(len(outputs), -1).astype(np.float64)
    if y.shape != outputs.shape:
        raise ValueError(
            f"y must hold {outputs.shape[1]} numbers a row, as the model answers; got {y.shape[1]}."
        )
    residual = ((y - outputs) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    constant = np.where(residual == 0, 1.0, 0.0)
    by_output = np.where(total > 0, 1.0 - residual / np.where(total > 0, total, 1.0), constant)
    return "r2", float(by_output.mean())


def _are_classes(y: np.ndarray, outputs: np.ndarray) -> bool:
    return y.dtype.kind in "iu" and y.size == len(y) and are_probabilities(outputs)
