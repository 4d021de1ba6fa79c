"""A Keras 3 network and its loss as pure functions in a file that an older TensorFlow loads."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autokit._backend import keras, tf
from autokit.federated.schedule import client_seed
from autokit.federated.weights import WeightLayout
from autokit.training import Batch, TensorBatch, task_objective, value_and_gradient
from autokit.training.objectives import n_correct

_PROBE_ROWS = 2


class Transport:
    """What is asked of a network elsewhere: a gradient, without any variable of its own.

    ::

        step(*params, *statistics, rows, targets, seeds[, weights])
            -> gradients, statistics, told = (loss, hits, rows met, whether anything is not finite)

    Differentiated here: only operations travel, no rule of how to differentiate them.

    Parameters
    ----------
    model : keras.Model
        Its variables are neither read nor written, but for constants among the non-trainable.
    loss : keras.losses.Loss
    layout : WeightLayout
    sample : Batch
        Some rows, for shapes, types, and how often random generators are asked in a step.

    Attributes
    ----------
    n_generators : int
        Random generators of the network, each of which needs a state at every step.
    """

    def __init__(
        self, model: keras.Model, loss: keras.losses.Loss, layout: WeightLayout, sample: Batch
    ) -> None:
        self._layout, self._loss = layout, loss
        self._gradient = value_and_gradient(task_objective(model, loss))
        self._places = [
            place
            for place, variable in enumerate(model.non_trainable_variables)
            if tuple(variable.shape) == (2,) and "int" in str(variable.dtype)
        ]
        self._types = [model.non_trainable_variables[place].dtype for place in self._places]
        self._constants = {
            place: variable.value.numpy()
            for place, variable in enumerate(model.non_trainable_variables)
            if place not in layout.statistics and place not in self._places
        }
        self.n_generators = len(self._places)
        self._advance = self._advanced(model, sample)
        specs = [tf.TensorSpec((None, *sample.x.shape[1:]), sample.x.dtype),
                 tf.TensorSpec((None, *sample.y.shape[1:]), sample.y.dtype),
                 tf.TensorSpec((self.n_generators, 2), tf.int64)]  # fmt: skip
        if sample.weight is not None:
            specs.append(tf.TensorSpec((None,), tf.float32))
        weights = [tf.TensorSpec(shape, tf.float32) for shape in layout.shapes]
        self._signature = [*weights, *specs]

    def save(self, folder: Path) -> None:
        """Write the function.

        Raises
        ------
        ValueError
            The network cannot travel.
        OSError
            It cannot be written.
        """
        module = tf.Module()
        module.step = tf.function(self._step, input_signature=self._signature, autograph=False)
        quiet = logging.getLogger("tensorflow")
        level = quiet.level
        quiet.setLevel(logging.ERROR)
        try:
            concrete = module.step.get_concrete_function()
            if any(tensor.dtype == tf.resource for tensor in concrete.captured_inputs):
                raise ValueError("it reads variables or tables that Keras does not list")
            tf.saved_model.save(module, os.fspath(folder))
        except (ValueError, TypeError, NotImplementedError, AssertionError) as error:
            raise ValueError(
                f"engine='tff' cannot take this network into TensorFlow Federated "
                f"({_first_line(error)}); use engine='embedded'."
            ) from error
        except tf.errors.OpError as error:
            raise OSError(f"{folder}: {_first_line(error)}") from error
        finally:
            quiet.setLevel(level)

    def seeds(self, seed: int, round_number: int, client: int, n_steps: int) -> np.ndarray:
        """States of the random generators at each step, int64 of (n_steps, n_generators, 2).

        They are those that generators have that count on from step to step.
        """
        start = client_seed(seed, round_number, client)
        # as in the embedded engine, of which this must have the dropout too
        own = start + np.array([[place, 0] for place in self._places], np.uint32).reshape(-1, 2)
        return own.astype(np.int64) + np.arange(n_steps)[:, None, None] * self._advance

    def _step(self, *tensors):
        n_weights = len(self._layout.shapes)
        n = self._layout.n_trainable
        weights, (rows, targets, seeds, *more) = tensors[:n_weights], tensors[n_weights:]
        batch = TensorBatch(rows, targets, *more)
        buffers = self._buffers(weights[n:], seeds)
        step, gradients = self._gradient(list(weights[:n]), buffers, batch)
        statistics = [tf.cast(step.buffers[p], tf.float32) for p in self._layout.statistics]
        gradients = [tf.cast(g, tf.float32) for g in gradients]
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        loss = tf.cast(step.loss, tf.float32)
        values = [loss, *gradients, *statistics]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in values])
        # the whole update is dropped then, whatever part of it was wrong
        poison = tf.where(finite, 0.0, np.float32("nan"))
        told = [
            loss * count,
            tf.cast(n_correct(self._loss, targets, step.outputs), tf.float32),
            count,
            tf.cast(~finite, tf.float32),
        ]
        return {
            "gradients": [g + poison for g in gradients],
            "statistics": statistics,
            "told": tf.stack(told),
        }

    def _buffers(self, statistics: Sequence, seeds) -> list:
        known = dict(zip(self._layout.statistics, statistics, strict=True))
        for i, (place, dtype) in enumerate(zip(self._places, self._types, strict=True)):
            known[place] = tf.cast(seeds[i], dtype)
        known |= {place: tf.constant(value) for place, value in self._constants.items()}
        return [known[place] for place in range(len(known))]

    def _advanced(self, model: keras.Model, sample: Batch) -> np.ndarray:
        """How far a step takes each generator, int64 of shape (n_generators, 2)."""
        if not self._places:
            return np.zeros((0, 2), np.int64)
        params = [tf.zeros(v.shape, v.dtype) for v in model.trainable_variables]
        statistics = [tf.zeros(self._layout.shapes[self._layout.n_trainable + i])
                      for i in range(len(self._layout.statistics))]  # fmt: skip
        buffers = self._buffers(statistics, tf.zeros((self.n_generators, 2), tf.int64))
        _, after = model.stateless_call(
            params, buffers, tf.constant(sample.x[:_PROBE_ROWS]), training=True
        )
        return np.stack([np.asarray(after[place]) for place in self._places]).astype(np.int64)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
