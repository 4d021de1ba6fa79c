"""How often a file is right: accuracy of classes, R2 of numbers. Needs NumPy only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Score(NamedTuple):
    """A figure, higher is better: "accuracy" or "r2", of so many rows."""

    name: str
    value: float
    n_rows: int


def score_of(subject: Any, outputs: np.ndarray, y: Any, argument: str = "y") -> Score:
    """Score outputs against targets.

    Parameters
    ----------
    subject : Subject
        Whose outputs they are.
    outputs : ndarray of shape (n_samples, n_outputs)
        Class probabilities, or numbers in the target's units.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets. For a plain classifier of several outputs, integer classes.
    argument : str, default="y"
        What the caller's caller calls `y`, for messages.

    Returns
    -------
    Score
        Accuracy, or the mean of R2 over outputs; R2 of a constant target is 1 if it is met and
        0 if not.

    Raises
    ------
    ValueError
        If `y` does not fit the outputs.
    """
    y = np.asarray(y)
    if len(y) != len(outputs):
        raise ValueError(
            f"{argument} has {len(y)} targets for {len(outputs)} rows; pass one for each row."
        )
    if subject.is_classifier or (subject.estimator is None and _are_classes(y, outputs)):
        chosen = outputs.argmax(axis=1)
        predicted = subject.estimator.classes_[chosen] if subject.is_classifier else chosen
        accuracy = np.mean(predicted == y.reshape(len(y)))
        return Score("accuracy", float(accuracy), len(y))
    y = y.reshape(len(y), -1).astype(np.float64)
    outputs = outputs.reshape(len(outputs), -1).astype(np.float64)
    if y.shape != outputs.shape:
        raise ValueError(
            f"{argument} must hold {outputs.shape[1]} numbers a row, as the model answers; got "
            f"{y.shape[1]}."
        )
    residual = ((y - outputs) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    constant = np.where(residual == 0, 1.0, 0.0)
    by_output = np.where(total > 0, 1.0 - residual / np.where(total > 0, total, 1.0), constant)
    return Score("r2", float(by_output.mean()), len(y))


def _are_classes(y: np.ndarray, outputs: np.ndarray) -> bool:
    # One number for several outputs can only be the class; the sum of int8 probabilities is not 1.
    return y.dtype.kind in "iu" and y.size == len(y) and outputs[0].size > 1
