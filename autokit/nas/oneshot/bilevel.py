"""The bilevel optimisation of DARTS: weights on one half of the rows, the mixture on the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from autokit._backend import keras, tf
from autokit.nas.oneshot.supernet import Supernet, values
from autokit.training import Step, TensorBatch, adam, local_sgd, sgd, value_and_gradient
from autokit.training.state import assign

CLIP_NORM = 5.0  # of the weights' gradient, as in the paper's code


@dataclass(frozen=True)
class BilevelSettings:
    """Rates of the two optimisers; the paper's, but for the architecture's rate.

    Parameters
    ----------
    learning_rate : float, default=0.025
        Of the weights at the start; a cosine takes it to `final_rate`.
    final_rate : float, default=0.001
    momentum : float, default=0.9
    weight_decay : float, default=3e-4
    architecture_rate : float, default=0.01
        Of the mixture's Adam. The paper's 3e-4 makes some 20,000 steps; a data set of a few
        thousand rows has some hundred.
    architecture_decay : float, default=1e-3
    order : {1, 2}, default=1
        1 takes the weights as they are; 2 looks one step of the weights ahead.
    exact : bool, default=False
        With order 2: differentiate through the step, in the place of the paper's two finite
        differences.
    auxiliary_skip : bool, default=True
        See `mixture_of`.
    selection : {"importance", "share"}, default="importance"
        What an edge keeps: the operation without which the loss grows most (`importances`), or
        the one of the largest share, as in the paper. Once the weights fit half 1 too well, the
        shares favour what cannot overfit, skips and pooling, whatever it is worth when trained
        alone.
    """

    learning_rate: float = 0.025
    final_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 3e-4
    architecture_rate: float = 0.01
    architecture_decay: float = 1e-3
    order: int = 1
    exact: bool = False
    auxiliary_skip: bool = True
    selection: Literal["importance", "share"] = "importance"


def mixture_of(alphas, skip: int | None, strength):
    """``softmax(alphas)`` of each edge, with an auxiliary skip connection of a given strength.

    A skip connection wins in a supernet because it lets gradients pass, not because it computes
    what is needed. An auxiliary skip beside the mixture does the first in its place, so that the
    mixture's own skip is left to compete by the second. Its strength falls linearly from 1 to 0.

    References
    ----------
    Chu et al., "DARTS-: Robustly Stepping out of Performance Collapse Without Indicators", ICLR
    2021, equation 3 and algorithm 1. The skip connection has no weights where it is the
    identity, so the auxiliary one is added to its weight.
    """
    mixture = tf.nn.softmax(alphas, axis=-1)
    if skip is None:
        return mixture
    return mixture + strength * tf.one_hot(skip, tf.shape(alphas)[-1], dtype=mixture.dtype)


def architecture_gradient(objective, order: int = 1, *, exact: bool = False):
    """The gradient of the validation loss in the architecture.

    ::

        first order:   d/da L_val(w, a)
        second order:  d/da L_val(w - rate * dL_train(w, a)/dw, a)
                     = d/da L_val(w', a) - rate * d2/dadw L_train(w, a) . dL_val(w', a)/dw'

    Parameters
    ----------
    objective : callable
        ``(params, alphas, batch) -> loss``, pure.
    order : {1, 2}, default=1
    exact : bool, default=False
        Of order 2: differentiate through the inner step. Otherwise the second term is
        ``(dL_train(w+, a)/da - dL_train(w-, a)/da) / (2 e)`` with ``w+- = w +- e v``,
        ``v = dL_val(w', a)/dw'`` and ``e = 0.01 / |v|``: the same but for an error of order e^2.

    Returns
    -------
    callable
        ``(params, alphas, training, validation, rate) -> (loss, gradient)``.

    References
    ----------
    Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, equations 6 to 8.
    """

    def inner_step(params, alphas, training, rate):
        def inner(p, buffers, batch):
            return Step(objective(p, alphas, batch), buffers, ())

        steps = TensorBatch(*(None if part is None else part[None] for part in training))
        return local_sgd(inner, rate)(params, [], steps).params

    def gradient_of(params, alphas, batch):
        with tf.GradientTape() as tape:
            tape.watch(alphas)
            loss = objective(params, alphas, batch)
        return loss, tape.gradient(loss, alphas)

    def first(params, alphas, training, validation, rate):
        return gradient_of(params, alphas, validation)

    def through_the_step(params, alphas, training, validation, rate):
        with tf.GradientTape() as tape:
            tape.watch(alphas)
            moved = inner_step(params, alphas, training, rate)
            loss = objective(moved, alphas, validation)
        return loss, tape.gradient(loss, alphas)

    def by_differences(params, alphas, training, validation, rate):
        moved = inner_step(params, alphas, training, rate)
        with tf.GradientTape() as tape:
            tape.watch([alphas, *moved])
            loss = objective(moved, alphas, validation)
        direct, *vector = tape.gradient(loss, [alphas, *moved], unconnected_gradients="zero")
        # 1e-12 keeps a vanished gradient from dividing by zero
        reach = 0.01 / (tf.linalg.global_norm(vector) + 1e-12)
        above, below = (
            gradient_of(
                [p + sign * reach * v for p, v in zip(params, vector, strict=True)],
                alphas,
                training,
            )[1]
            for sign in (1.0, -1.0)
        )
        return loss, direct - rate * (above - below) / (2 * reach)

    if order == 1:
        return first
    return through_the_step if exact else by_differences


class Bilevel:
    """The compiled alternation of both optimisers over one supernet.

    Parameters
    ----------
    supernet : Supernet
    loss : keras.losses.Loss
    alphas : np.ndarray of shape (n_edges, n_operations)
        The logits to start from.
    settings : BilevelSettings
    """

    def __init__(self, supernet: Supernet, loss: keras.losses.Loss, alphas, settings):
        self.supernet, self.loss, self.settings = supernet, loss, settings
        self.alphas = tf.Variable(alphas, dtype=tf.float32)
        held = supernet.scales
        variables = supernet.model.trainable_variables
        self.free = [v for i, v in enumerate(variables) if i not in held]
        self.places = [i for i in range(len(variables)) if i not in held]
        self.velocity = [tf.Variable(tf.zeros_like(v.value)) for v in self.free]
        self.rule = adam(settings.architecture_rate, beta_1=0.5, beta_2=0.999)
        self.moments = tf.nest.map_structure(tf.Variable, self.rule.init([self.alphas]))
        self.steps = tf.function(self._steps, autograph=False)
        self._losses = tf.function(self._losses_of, autograph=False, reduce_retracing=True)

    def losses(self, rows: tuple, mixtures) -> np.ndarray:
        """The supernet's loss on some rows with each of several mixtures.

        Parameters
        ----------
        rows : tuple of tf.Tensor
            Inputs, targets and weights if given.
        mixtures : array of shape (n, n_edges, n_operations)

        Returns
        -------
        np.ndarray of shape (n,)
        """
        return self._losses(rows, tf.constant(mixtures, tf.float32)).numpy()

    def _losses_of(self, rows, mixtures):
        model, batch = self.supernet.model, TensorBatch(*rows)
        params, buffers = (
            values(v) for v in (model.trainable_variables, model.non_trainable_variables)
        )

        def loss_of(mixture):
            outputs, _ = model.stateless_call(params, buffers, [batch.x, mixture], training=True)
            return self.loss(batch.y, outputs, sample_weight=batch.weight)

        return tf.map_fn(loss_of, mixtures, fn_output_signature=tf.float32, parallel_iterations=1)

    def objective(self, strength):
        """``(params, alphas, batch) -> loss`` of the supernet, by batch statistics throughout."""
        model = self.supernet.model
        fixed = values(model.trainable_variables)
        buffers = values(model.non_trainable_variables)

        def objective(params, alphas, batch):
            everything = list(fixed)
            for place, param in zip(self.places, params, strict=True):
                everything[place] = param
            mixture = mixture_of(alphas, self.supernet.skip, strength)
            outputs, _ = model.stateless_call(
                everything, buffers, [batch.x, mixture], training=True
            )
            return self.loss(batch.y, outputs, sample_weight=batch.weight)

        return objective

    def _steps(self, training, validation, orders, start, stop, batch_size, rate, strength):
        """Steps `start` to `stop`: the sums of the weights' and of the architecture's losses."""

        def body(i, weights_loss, alphas_loss):
            rows = [order[i * batch_size : (i + 1) * batch_size] for order in orders]
            batches = [
                TensorBatch(*(tf.gather(t, chosen) for t in tensors))
                for tensors, chosen in zip((training, validation), rows, strict=True)
            ]
            outer = self._architecture_step(*batches, rate, strength)
            with tf.control_dependencies([outer]):
                inner = self._weights_step(batches[0], rate, strength)
            return i + 1, weights_loss + inner, alphas_loss + outer

        def go_on(i, weights_loss, alphas_loss):
            return (i < stop) & tf.math.is_finite(weights_loss + alphas_loss)

        return tf.while_loop(go_on, body, (start, 0.0, 0.0), parallel_iterations=1)[1:]

    def _architecture_step(self, training, validation, rate, strength):
        settings, alphas = self.settings, self.alphas
        gradient = architecture_gradient(
            self.objective(strength), settings.order, exact=settings.exact
        )
        now = tf.identity(alphas)
        loss, slope = gradient(values(self.free), now, training, validation, rate)
        slope += settings.architecture_decay * now
        changes, moments = self.rule.update([slope], self.moments, [now])
        tf.nest.map_structure(lambda old, new: old.assign(new), self.moments, moments)
        alphas.assign_add(changes[0])
        return loss

    def _weights_step(self, batch, rate, strength):
        objective, alphas = self.objective(strength), tf.identity(self.alphas)

        def inner(params, buffers, batch):
            return Step(objective(params, alphas, batch), buffers, ())

        params = values(self.free)
        step, gradients = value_and_gradient(inner)(params, [], batch)
        gradients = tf.clip_by_global_norm(gradients, CLIP_NORM)[0]
        gradients = [
            g + self.settings.weight_decay * p for g, p in zip(gradients, params, strict=True)
        ]
        rule = sgd(rate, self.settings.momentum)
        changes, velocity = rule.update(gradients, values_of(self.velocity), params)
        assign(self.velocity, velocity)
        assign(self.free, [p + c for p, c in zip(params, changes, strict=True)])
        return step.loss


def values_of(variables: list[tf.Variable]) -> list[Any]:
    """What TensorFlow variables hold now."""
    return [tf.identity(v) for v in variables]
