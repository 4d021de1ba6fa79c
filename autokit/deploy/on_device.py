"""The last layer of a file, kept beside it and trained by it. Needs LiteRT and NumPy only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Run = Callable[[str, Arrays, Arrays], Arrays]


def trained_head(
    run: Run,
    head: Arrays,
    embedding: np.ndarray,
    targets: Arrays,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    random_state: int,
) -> tuple[Arrays, float]:
    """Train a head with a file's signature ``train_head``.

    Parameters
    ----------
    run : callable
        Runs a signature: its name, inputs by row, other inputs.
    head : dict of str to ndarray
        ``kernel`` and ``bias`` to start from.
    embedding : ndarray of shape (n_samples, n_features), float32
        From the signature ``embed``.
    targets : dict of str to ndarray
        ``labels``, or ``targets``.
    learning_rate : float
        Of gradient descent.
    epochs : int
        Passes over the rows.
    batch_size : int
        Rows of a step; the last step of a pass may have fewer.
    random_state : int
        Seed of the order of rows.

    Returns
    -------
    head : dict of str to ndarray
        Trained.
    loss : float
        Mean over the last pass, each step before its update.
    """
    rng = np.random.default_rng(random_state)
    rate = np.array([learning_rate], np.float32)
    loss = 0.0
    for _ in range(epochs):
        order = rng.permutation(len(embedding))
        loss = 0.0
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = {name: values[chosen] for name, values in targets.items()}
            answer = run(
                "train_head",
                {},
                {"embedding": embedding[chosen], **batch, **head, "learning_rate": rate},
            )
            head = {name: answer[name] for name in ("kernel", "bias")}
            loss += float(answer["loss"][0]) * len(chosen)
    return head, loss / len(embedding)


def encoded_targets(y: Any, metadata: dict[str, Any]) -> Arrays:
    """Turn targets into what ``train_head`` takes.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Labels, class indices (of a plain model), or numbers.
    metadata : dict
        Of the file.

    Returns
    -------
    dict of str to ndarray
        ``labels`` (int32) or ``targets`` (float32).

    Raises
    ------
    ValueError
        If `y` has a label that the file does not know, or another shape.
    """
    described = metadata["head"]
    n_outputs = described["bias"][0]
    if described["targets"] == "targets":
        numbers = np.asarray(y, np.float32)
        numbers = numbers.reshape(len(numbers), -1)
        if numbers.shape[1] != n_outputs:
            raise ValueError(
                f"y must hold {n_outputs} numbers a row for this file, got {numbers.shape[1]}."
            )
        return {"targets": numbers}
    labels = np.asarray(y)
    if labels.ndim != 1:
        raise ValueError(f"y must be of shape (n_samples,), got {labels.shape}; pass class labels.")
    classes = metadata.get("classes")
    known = list(range(n_outputs)) if classes is None else classes
    position = {label: i for i, label in enumerate(known)}
    unknown = [label for label in labels.tolist() if label not in position]
    if unknown:
        raise ValueError(
            f"y has the label {unknown[0]!r}, which this file does not know; its classes are "
            f"{', '.join(map(repr, known[:8]))}: export a file with a class for it."
        )
    return {"labels": np.array([position[label] for label in labels.tolist()], np.int32)}
