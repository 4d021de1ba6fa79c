"""Training and scoring of a supernet one path at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autokit._backend import keras, tf
from autokit.nas.oneshot.supernet import Supernet, values
from autokit.training import Step, TensorBatch, sgd, value_and_gradient
from autokit.training.objectives import n_correct
from autokit.training.state import assign

EVALUATION_ROWS = 256  # of one batch: enough for the statistics of batch normalisation


@dataclass(frozen=True)
class WeightSettings:
    """How shared weights are trained.

    Parameters
    ----------
    learning_rate : float, default=0.05
        Of SGD at the start; a cosine takes it to `final_rate`.
    final_rate : float, default=0.0005
    momentum : float, default=0.9
    weight_decay : float, default=1e-4
    clip_norm : float, default=5.0
        Of the gradient.
    """

    learning_rate: float = 0.05
    final_rate: float = 5e-4
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 5.0


class SharedWeightsTraining:
    """Compiled steps over one supernet, each on one path through it.

    A weight whose gradient is exactly zero belongs to an operation that is not on the path: it
    stays as it is, neither its momentum nor its decay moves it.

    Parameters
    ----------
    supernet : Supernet
    loss : keras.losses.Loss
    settings : WeightSettings
    """

    def __init__(self, supernet: Supernet, loss: keras.losses.Loss, settings: WeightSettings):
        self.supernet, self.loss, self.settings = supernet, loss, settings
        self.params = supernet.single.trainable_variables
        self.velocity = [tf.Variable(tf.zeros_like(v.value)) for v in self.params]
        self.steps = tf.function(self._steps, autograph=False)
        self.evaluate = tf.function(self._evaluate, autograph=False)

    def objective(self, params, choices, batch) -> Step:
        """The loss of one path on a batch, batch normalisation by the batch's statistics."""
        model = self.supernet.single
        buffers = values(model.non_trainable_variables)
        outputs, _ = model.stateless_call(params, buffers, [batch.x, choices], training=True)
        return Step(self.loss(batch.y, outputs, sample_weight=batch.weight), [], outputs)

    def _steps(self, tensors, order, choices, start, stop, batch_size, rate):
        """Steps `start` to `stop`, step i on path ``choices[i]``: the sum of their losses."""

        def body(i, losses):
            rows = order[i * batch_size : (i + 1) * batch_size]
            batch = TensorBatch(*(tf.gather(t, rows) for t in tensors))
            return i + 1, losses + self._step(batch, choices[i], rate)

        def go_on(i, losses):
            return (i < stop) & tf.math.is_finite(losses)

        return tf.while_loop(go_on, body, (start, 0.0), parallel_iterations=1)[1]

    def _step(self, batch, path, rate):
        settings = self.settings
        params = values(self.params)

        def objective(params, buffers, batch):
            return self.objective(params, path, batch)

        step, gradients = value_and_gradient(objective)(params, [], batch)
        on_path = [tf.reduce_any(tf.not_equal(g, 0.0)) for g in gradients]
        gradients = tf.clip_by_global_norm(gradients, settings.clip_norm)[0]
        gradients = [g + settings.weight_decay * p for g, p in zip(gradients, params, strict=True)]
        before = [tf.identity(v) for v in self.velocity]
        changes, after = sgd(rate, settings.momentum).update(gradients, before, params)
        for i, is_used in enumerate(on_path):
            self.velocity[i].assign(tf.where(is_used, after[i], before[i]))
        moved = [
            tf.where(is_used, p + c, p)
            for is_used, p, c in zip(on_path, params, changes, strict=True)
        ]
        assign(self.params, moved)
        return step.loss

    def _evaluate(self, tensors, choices):
        """Mean loss and accuracy (NaN where there is none) of one path over all rows."""
        n_rows = tf.shape(tensors[0])[0]
        n_batches = tf.maximum(1, n_rows // EVALUATION_ROWS)
        params = values(self.params)

        def body(i, losses, hits):
            # parts of equal size: a small last batch would have statistics of its own
            first, last = i * n_rows // n_batches, (i + 1) * n_rows // n_batches
            batch = TensorBatch(*(t[first:last] for t in tensors))
            step = self.objective(params, choices, batch)
            loss = step.loss * tf.cast(last - first, tf.float32)
            return i + 1, losses + loss, hits + n_correct(self.loss, batch.y, step.outputs)

        _, losses, hits = tf.while_loop(lambda i, *_: i < n_batches, body, (0, 0.0, 0.0))
        count = tf.cast(n_rows, tf.float32)
        return losses / count, hits / count

    def score(self, task, tensors, architecture) -> tuple[float, float]:
        """Score and loss of an architecture by the shared weights.

        Parameters
        ----------
        task : Task
        tensors : tuple of tf.Tensor
            Shuffled rows: every batch's statistics should be like those of all rows.
        architecture : hashable
        """
        choices = tf.constant(self.supernet.choices(architecture))
        loss, accuracy = (float(value) for value in self.evaluate(tensors, choices))
        logs = {"val_loss": loss}
        if np.isfinite(accuracy):
            logs["val_accuracy"] = accuracy
        return task.score(logs), loss
