"""What a trained supernet is worth without one of its operations: which to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autokit._backend import tf

if TYPE_CHECKING:
    from autokit.nas.oneshot.bilevel import Bilevel

SELECTION_ROWS = 1024
FAR = 1e6


def importances(program: Bilevel, rows: tuple, rng: np.random.Generator) -> np.ndarray:
    """How much the loss grows without each edge, at the operation that the edge keeps.

    ::

        mixture = softmax(alphas)
        for each edge, in random order:
            keep the operation whose removal increases the loss most;  mixture[edge] = one-hot
        for each edge:  importance = loss without the edge - loss

    The share that gradient descent gave an operation says little of what the network would be
    without it: skips and pools have large shares because they are easy to train around.

    Parameters
    ----------
    program : Bilevel
        After its training.
    rows : tuple of tf.Tensor
        Inputs, targets and weights if given, of the half that the mixture was trained on.
    rng : np.random.Generator

    Returns
    -------
    np.ndarray of shape (n_edges, n_operations)
        For `Supernet.discretise`: the importance at the kept operation, and far below it the
        others in the order of their own.

    References
    ----------
    Wang, Cheng, Chen, Tang, Hsieh, "Rethinking Architecture Selection in Differentiable NAS",
    ICLR 2021, algorithm 1. We depart from it in that the loss decides in the place of the
    accuracy, which a few hundred rows resolve badly, and in that the weights are not tuned
    between two edges.
    """
    rows = tuple(part[:SELECTION_ROWS] for part in rows)
    mixture = tf.nn.softmax(program.alphas).numpy()
    n_edges, n_operations = mixture.shape
    kept, found = np.zeros(n_edges, int), np.zeros((n_edges, n_operations))
    for edge in rng.permutation(n_edges):
        without = np.repeat(mixture[None], n_operations, axis=0)
        without[:, edge] *= 1.0 - np.eye(n_operations, dtype=mixture.dtype)
        without[:, edge] /= without[:, edge].sum(axis=1, keepdims=True)
        found[edge] = program.losses(rows, without)
        kept[edge] = np.argmax(found[edge])
        mixture[edge] = np.eye(n_operations)[kept[edge]]
    cut = np.repeat(mixture[None], n_edges, axis=0)
    cut[np.arange(n_edges), np.arange(n_edges)] = 0.0
    found -= FAR
    grown = program.losses(rows, cut) - program.losses(rows, mixture[None])
    found[np.arange(n_edges), kept] = grown
    return found
