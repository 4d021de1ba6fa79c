"""DARTS: an architecture by gradient descent on the mixture of all operations."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from autokit._backend import tf
from autokit.nas.oneshot.bilevel import Bilevel, BilevelSettings
from autokit.nas.oneshot.epochs import EpochClock, rate_at, row_order, shuffled_halves
from autokit.nas.oneshot.history import SupernetHistory
from autokit.nas.oneshot.retraining import retrained
from autokit.nas.oneshot.selection import importances
from autokit.nas.oneshot.supernet import make_supernet
from autokit.training.objectives import make_loss

if TYPE_CHECKING:
    from autokit.nas.evaluators.train import TrainEvaluator
    from autokit.nas.result import SearchResult


def darts(
    space,
    task,
    *,
    epochs: int = 50,
    seed: int = 0,
    deadline: float | None = None,
    progress=None,
    batch_size: int = 64,
    retrain_epochs: int | None = None,
    trainer: TrainEvaluator | None = None,
    **settings,
) -> SearchResult:
    """Search by gradient descent, then train what was found from scratch.

    ::

        for each step:
            a = a - adam(dL_half2(w, softmax(a)) / da)     # order 2: w after one step more
            w = w - sgd(dL_half1(w, softmax(a)) / dw)
        architecture = discretise(importances)             # or of softmax(a)

    The halves are of the training rows. Two guards keep what is found from being all skip
    connections and pooling: an auxiliary skip connection (`mixture_of`), and a choice by what the
    supernet loses without an operation (`importances`). The paper's DARTS has neither:
    ``auxiliary_skip=False, selection="share"``.

    Parameters
    ----------
    space : SearchSpace
        With a method ``supernet``.
    task : Task
    epochs : int, default=50
        Of the supernet.
    seed : int, default=0
    deadline : float or None, default=None
        ``time.monotonic()`` second at which everything must be over; the supernet stops early
        enough to train what it found.
    progress : SearchProgress or None, default=None
    batch_size : int, default=64
    retrain_epochs : int or None, default=None
        Of what was found; None is `epochs`.
    trainer : TrainEvaluator or None, default=None
        Trains what was found; None is one with its defaults.
    **settings
        Of `BilevelSettings`: ``order=2``, rates, guards.

    Returns
    -------
    SearchResult
        Of one evaluation, with a `SupernetHistory` as ``supernet``.

    Raises
    ------
    ValueError
        The space has no supernet.
    TrainingDiverged
        A loss stopped being finite.

    References
    ----------
    Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, algorithm 1. We
    depart from it in both guards, in the higher architecture rate (`BilevelSettings`), and in the
    step ahead of order 2, which is plain SGD as in equation 6, where the authors' code adds
    momentum.
    """
    retrain_epochs = epochs if retrain_epochs is None else retrain_epochs
    settings = BilevelSettings(**settings)
    supernet = make_supernet(space, task, seed)
    rng = np.random.default_rng(seed)
    alphas = 1e-3 * rng.normal(size=(supernet.n_edges, supernet.n_operations))
    program = Bilevel(supernet, make_loss(task.loss), alphas, settings)
    clock = EpochClock(deadline, epochs, retrain_epochs)
    training, validation = shuffled_halves(task, seed)
    n_rows = int(training[0].shape[0])
    n_steps = max(1, n_rows // batch_size)
    history = SupernetHistory(supernet.operations, supernet.edge_names)
    for epoch in clock.each():
        started = time.monotonic()
        orders = tuple(
            row_order(int(rows[0].shape[0]), n_steps * batch_size, rng)
            for rows in (training, validation)
        )
        fixed = (
            tf.constant(batch_size),
            tf.constant(rate_at(epoch, epochs, settings.learning_rate, settings.final_rate)),
            tf.constant(max(0.0, 1.0 - epoch / epochs) * settings.auxiliary_skip),
        )
        losses = clock.run(
            n_steps,
            lambda a, b, o=orders, f=fixed: program.steps(training, validation, o, a, b, *f),
        )
        history.record(
            supernet,
            tf.nn.softmax(program.alphas).numpy(),
            weights_loss=losses[0],
            architecture_loss=losses[1],
            seconds=time.monotonic() - started,
        )
    by_share = settings.selection == "share"
    strengths = history.mixtures[-1] if by_share else importances(program, validation, rng)
    found = supernet.discretise(strengths)
    return retrained(found, space, task, trainer, clock, seed, progress, history)
