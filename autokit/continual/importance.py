"""How much a network's answers depend on each of its weights, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autokit._backend import tf
from autokit.continual.protocols import Experience, TracedStep
from autokit.training import Step, TensorBatch, per_example_gradients

MOST_ROWS = 2000  # of one experience, unless told otherwise
PIECE_FLOATS = 1 << 24  # of gradients at a time: 64 MiB
PIECE_ROWS = 128


def own_units(step: TracedStep, y):
    """Which output units belong to the head of each row, bool of shape (n_rows, n_units).

    Parameters
    ----------
    step : TracedStep
    y : tf.Tensor
        Units of shape (n_rows,), or numbers and, last, the head.
    """
    head = tf.gather(step.groups, y) if step.classifies else tf.cast(y[:, -1], tf.int32)
    return tf.equal(step.groups[None, :], head[:, None])


def importance(
    experience: Experience,
    name: str,
    slope: Callable[..., Any],
    size: Callable[[Any], Any],
    n_rows: int | None = None,
) -> list[np.ndarray]:
    """The mean size of a gradient, taken for each row by itself.

    ::

        mean_b size(d <s_b, f(x_b)> / d params)        s_b = slope at the outputs f(x_b)

    `slope` is a derivative in the outputs: of the log-likelihood it makes the Fisher information,
    of the squared norm of the outputs the importance of memory-aware synapses. The network is in
    inference mode, so that rows do not depend on each other.

    Parameters
    ----------
    experience : Experience
        After training.
    name : str
        Of this importance: the computation is compiled once for a name.
    slope : callable
        ``slope(outputs, y, step, seed)``, float32 of shape (n_rows, n_units).
    size : callable
        ``tf.square`` or ``tf.abs``.
    n_rows : int, default=None
        Rows to use, drawn by ``experience.rng`` without replacement; None takes 2,000 at most.

    Returns
    -------
    list of np.ndarray
        One per trainable parameter, of its shape.
    """
    batch = experience.batch
    most = MOST_ROWS if n_rows is None else int(n_rows)
    if len(batch) > most:
        batch = batch.take(np.sort(experience.rng.choice(len(batch), most, replace=False)))

    def piece(params, buffers, rows, step, start):
        outputs = tf.cast(step.outputs(params, buffers, rows.x), tf.float32)
        seed = step.seed + tf.stack([0, start])

        def answer(params, buffers, row):
            out = tf.cast(step.outputs(params, buffers, row.x), tf.float32)
            return Step(tf.reduce_sum(out * row.y), buffers, out)

        each = per_example_gradients(answer)
        slopes = TensorBatch(rows.x, slope(outputs, rows.y, step, seed))
        return [tf.reduce_sum(size(g), axis=0) for g in each(params, buffers, slopes)]

    n_params = sum(p.size for p in experience.before.params)
    at_once = int(np.clip(PIECE_FLOATS // n_params, 1, PIECE_ROWS))
    total = experience.sweep(name, piece, batch, at_once)
    return [np.asarray(part) / np.float32(len(batch)) for part in total]
