"""The compiled forward pass that answers ``predict``."""

from __future__ import annotations

import numpy as np

from autokit._backend import keras, tf

CHUNK_ROWS = 1024  # bounds the memory of activations


class Forward:
    """A model's inference as one compiled function over any number of rows.

    Parameters
    ----------
    model : keras.Model
    finish : callable or None
        Applied to the outputs in the graph, e.g. ``tf.nn.softmax``.

    Notes
    -----
    Traced at the first call, for a free number of rows, so it never traces again. Pickled without
    its trace.
    """

    def __init__(self, model: keras.Model, finish=None):
        self.model = model
        self.finish = finish
        self._compiled = None

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Outputs of shape (n_rows, ...) for encoded rows of shape (n_rows, ...)."""
        if self._compiled is None:
            self._compiled = self._trace(rows)
        if len(rows) <= CHUNK_ROWS:
            return self._compiled(tf.constant(rows)).numpy()
        parts = [
            self._compiled(tf.constant(rows[start : start + CHUNK_ROWS])).numpy()
            for start in range(0, len(rows), CHUNK_ROWS)
        ]
        return np.concatenate(parts)

    def _trace(self, rows):
        @tf.function(autograph=False)
        def forward(x):
            outputs = self.model(x, training=False)
            return outputs if self.finish is None else self.finish(outputs)

        return forward.get_concrete_function(tf.TensorSpec((None, *rows.shape[1:]), rows.dtype))

    def __reduce__(self):
        return Forward, (self.model, self.finish)


def predict(model: keras.Model, rows: np.ndarray) -> np.ndarray:
    """Outputs of a model for encoded rows, compiled for this call alone."""
    return Forward(model)(rows)


def answers(model: keras.Model, rows: np.ndarray) -> np.ndarray:
    """Outputs of a model for encoded rows, not compiled: for a network that soon changes."""
    chunks = range(0, max(1, len(rows)), CHUNK_ROWS)
    parts = [model(tf.constant(rows[i : i + CHUNK_ROWS]), training=False) for i in chunks]
    return np.concatenate([part.numpy() for part in parts])
