"""Objectives: pure functions from parameters, buffers and a batch to a loss.

::

    objective(params, buffers, batch) -> Step(loss, buffers, outputs)

`params` and `buffers` are lists of tensors in the order of ``model.trainable_variables`` and
``model.non_trainable_variables``; nothing is written. A penalty or a distillation term is an
objective around an objective, so that FedProx, EWC, SI, L2-SP, LwF and compression share them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from autokit._backend import keras, tf


class Step(NamedTuple):
    """What one evaluation of an objective gives.

    Attributes
    ----------
    loss : tf.Tensor of shape ()
        The mean loss of the batch, penalties included.
    buffers : list of tf.Tensor
        The new non-trainable state (batch-normalisation statistics, random seeds).
    outputs : tf.Tensor of shape (batch, ...)
        What the model answered, for metrics.
    """

    loss: Any
    buffers: list
    outputs: Any


class TensorBatch(NamedTuple):
    """Rows on the device: inputs, targets and, if given, a weight per row."""

    x: Any
    y: Any
    weight: Any = None


Objective = Callable[[Sequence, Sequence, TensorBatch], Step]


def task_objective(
    model: keras.Model,
    loss: keras.losses.Loss,
    *,
    training: bool = True,
    outputs_of: Callable[[Any, TensorBatch], Any] | None = None,
):
    """The model's own loss on a batch, with its regularisation losses added.

    ``loss = mean_b(weight_b * loss(y_b, model(x_b))) + sum(model.losses)``

    Parameters
    ----------
    model : keras.Model
        Called by ``stateless_call``: its variables are neither read nor written.
    loss : keras.losses.Loss
        Reduces to the mean over the batch (Keras' ``sum_over_batch_size``).
    training : bool, default=True
        False freezes dropout and batch normalisation.
    outputs_of : callable or None, default=None
        ``(outputs, batch) -> outputs``: what of the model's answers the loss sees.

    Returns
    -------
    Objective
    """

    def objective(params, buffers, batch):
        outputs, new_buffers, penalties = model.stateless_call(
            params, buffers, batch.x, training=training, return_losses=True
        )
        if outputs_of is not None:
            outputs = outputs_of(outputs, batch)
        value = loss(batch.y, outputs, sample_weight=batch.weight)
        for penalty in penalties:
            value += tf.cast(penalty, value.dtype)
        return Step(value, new_buffers, outputs)

    return objective


def n_correct(loss: keras.losses.Loss, targets, outputs, weight=None) -> tf.Tensor:
    """How many rows the outputs get right; NaN for a loss that is not a classification's.

    A row with several answers counts by its share of right ones, times its weight if given.
    """
    outputs = tf.cast(outputs, tf.float32)
    if isinstance(loss, keras.losses.SparseCategoricalCrossentropy):
        guess = tf.argmax(outputs, axis=-1, output_type=tf.int32)
        right = tf.equal(guess, tf.cast(targets, tf.int32))
    elif isinstance(loss, keras.losses.BinaryCrossentropy):
        threshold = 0.0 if loss.get_config().get("from_logits") else 0.5
        answers = tf.cast(tf.reshape(targets, tf.shape(outputs)), tf.float32)
        right = tf.equal(outputs > threshold, answers > 0.5)
    else:
        return tf.constant(float("nan"))
    shares = tf.reduce_mean(tf.cast(right, tf.float32), axis=list(range(1, right.shape.rank)))
    return tf.reduce_sum(shares if weight is None else shares * weight)


class FunctionLoss(keras.losses.Loss):
    """A plain function ``(targets, outputs) -> losses`` as a Keras loss.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, y_true, y_pred):
        return self.function(y_true, y_pred)


def make_loss(loss) -> keras.losses.Loss:
    """A Keras loss object from an object, a function, or one of Keras' names.

    Raises
    ------
    ValueError
        Keras knows no loss of that name.
    """
    if isinstance(loss, str):
        by_class = getattr(keras.losses, "".join(w.capitalize() for w in loss.split("_")), None)
        loss = by_class() if isinstance(by_class, type) else keras.losses.get(loss)
    return loss if isinstance(loss, keras.losses.Loss) else FunctionLoss(loss)


def quadratic_penalty(objective: Objective, anchor: Sequence, weight: float | Sequence):
    """Pull the parameters towards an anchor.

    ``loss' = loss + sum_i weight_i * (param_i - anchor_i)^2``

    FedProx (weight = mu / 2, Li et al. 2020), EWC (weight = lambda / 2 * Fisher, Kirkpatrick et
    al. 2017), SI and L2-SP are this with different weights.

    Parameters
    ----------
    objective : Objective
    anchor : sequence of arrays
        One per parameter, of its shape.
    weight : float or sequence of arrays
        One number for all, or one per parameter that broadcasts to its shape.

    Returns
    -------
    Objective
    """

    def penalised(params, buffers, batch):
        step = objective(params, buffers, batch)
        weights = [weight] * len(params) if isinstance(weight, int | float) else weight
        pull = tf.add_n(
            [
                tf.reduce_sum(tf.cast(w, p.dtype) * tf.square(p - a))
                for p, a, w in zip(params, anchor, weights, strict=True)
            ]
        )
        return step._replace(loss=step.loss + pull)

    return penalised


def distillation(
    objective: Objective,
    teacher: Callable[[Any], Any],
    *,
    weight: float = 0.5,
    temperature: float = 2.0,
):
    """Mix an objective with the cross-entropy to a teacher's softened probabilities.

    ``loss' = (1 - weight) * loss + weight * T^2 * CE(q_T(teacher), q_T(student))`` where
    ``q_T = softmax(log(p) / T)``; both models answer probabilities. T^2 keeps the gradient's
    size independent of the temperature.

    Parameters
    ----------
    objective : Objective
    teacher : callable
        From a batch of inputs to probabilities of shape (batch, n_classes).
    weight : float in [0, 1], default=0.5
    temperature : float > 0, default=2.0

    Returns
    -------
    Objective

    References
    ----------
    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
    """

    def distilled(params, buffers, batch):
        step = objective(params, buffers, batch)
        soft = soft_cross_entropy(teacher(batch.x), step.outputs, temperature=temperature)
        return step._replace(loss=(1.0 - weight) * step.loss + weight * tf.reduce_mean(soft))

    return distilled


def soft_cross_entropy(teacher, outputs, *, temperature: float, from_logits: bool = False):
    """The cross-entropy to a teacher's probabilities, both softened.

    ``T^2 CE(q_T(teacher), q_T(outputs))`` with ``q_T = softmax(log(p) / T)``.

    Parameters
    ----------
    teacher : tf.Tensor of shape (batch, n_classes)
        Probabilities; no gradient flows into them.
    outputs : tf.Tensor of shape (batch, n_classes)
        Probabilities, or logits.
    temperature : float > 0
    from_logits : bool, default=False
        Whether `outputs` are logits.

    Returns
    -------
    tf.Tensor of shape (batch,)
    """

    def logits_of(probabilities):
        # 1e-7: the float32 floor Keras uses for its own cross-entropies
        return tf.math.log(tf.maximum(probabilities, 1e-7))

    logits = outputs if from_logits else logits_of(outputs)
    target = tf.nn.softmax(logits_of(tf.stop_gradient(teacher)) / temperature)
    cross = tf.nn.softmax_cross_entropy_with_logits(target, logits / temperature)
    return temperature**2 * cross
