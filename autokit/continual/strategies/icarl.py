"""Incremental classifier and representation learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from autokit._backend import keras, tf
from autokit.continual.memory import unit_rows
from autokit.continual.network import features_of
from autokit.continual.protocols import PerUnit, Strategy
from autokit.training import Batch
from autokit.training.forward import answers

UNKNOWN = -4.0  # below 2 m.f - |m|^2 >= -3 of any mean m and features f of length 1


@dataclass(kw_only=True, eq=False, repr=False)
class ICaRL(Strategy):
    """Answer with the class whose exemplars' mean feature is nearest.

    ::

        loss   = sum_u BCE(sigmoid(z_u), t_u)     t_u = sigmoid of the former logit for old
                                                        classes, else 1 if u is the row's class
        answer = argmin_u |f - m_u|^2             f = phi(x) / |phi(x)|
               = argmax_u 2 m_u . f - |m_u|^2     m_u = mean of f over the exemplars of class u

    `phi` is what enters the output layer. Exemplars are among the rows of each experience, and
    are chosen by herding.

    References
    ----------
    Rebuffi, Kolesnikov, Sperl, Lampert, "iCaRL", 2017, algorithms 1 to 5. Means are brought to
    length 1, as there. An old class of which an experience has rows learns from them, too: the
    paper's classes never come again. Where tasks have heads, each row learns and is answered in
    its own.

    Examples
    --------
    >>> from autokit.continual import ICaRL
    >>> ICaRL().selection
    'herding'
    """

    uses_memory: ClassVar[bool] = True
    classifies_only: ClassVar[bool] = True

    @property
    def selection(self) -> str:
        return "herding"

    def start(self, params, buffers):
        kernel = next(p for p in reversed(params) if p.ndim == 2)  # (n_features, n_units)
        return {"mean": PerUnit(np.full_like(kernel, np.nan))}

    def before(self, experience):
        state = experience.state
        learns = np.isin(np.arange(len(experience.groups)), experience.batch.y)
        return {
            "mean": state["mean"],
            "distils": ~np.isnan(state["mean"].values[0]) & ~learns,
            "params": list(experience.before.params),
            "buffers": tuple(experience.before.buffers),
        }

    def batches(self, experience):
        batch, memory = experience.batch, experience.memory
        return Batch(np.concatenate([memory.x, batch.x]), np.concatenate([memory.y, batch.y]))

    def objective(self, objective, step):
        cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        def distilled(params, buffers, batch):
            new = objective(params, buffers, batch)
            logits = tf.cast(new.outputs, tf.float32)
            former = step.outputs(step.state["params"], step.state["buffers"], batch.x)
            soft = tf.stop_gradient(tf.sigmoid(tf.cast(former, tf.float32)))
            hard = tf.one_hot(batch.y, tf.shape(logits)[1])
            targets = tf.where(step.state["distils"][None, :], soft, hard)
            inside = tf.equal(step.groups[None, :], tf.gather(step.groups, batch.y)[:, None])
            each = tf.nn.sigmoid_cross_entropy_with_logits(targets, tf.where(inside, logits, 0.0))
            own = tf.reduce_sum(tf.where(inside, each, 0.0), axis=1)
            change = tf.reduce_mean(own) - cross_entropy(batch.y, logits)
            return new._replace(loss=new.loss + change)

        return distilled

    def after(self, experience):
        memory = experience.remember()
        features = unit_rows(answers(features_of(experience.network), memory.x))
        mean = np.full_like(experience.state["mean"].values, np.nan)
        for unit in np.unique(memory.y):
            mean[:, unit] = features[memory.y == unit].mean(axis=0)
        return {"mean": PerUnit(unit_rows(mean.T).T)}

    def answer(self, network, state, groups, group):
        return nearest_mean(network, state["mean"].values) if state else network


def nearest_mean(network: keras.Model, mean: np.ndarray) -> keras.Model:
    """The network with ``2 m.f - |m|^2`` for its outputs, the nearest mean's being the largest.

    Parameters
    ----------
    network : keras.Model
        Stays as it is; the result shares its layers up to the output layer.
    mean : np.ndarray of shape (n_features, n_units)
        Of features of length 1; NaN for units without rows, which are never the nearest.

    Returns
    -------
    keras.Model
    """
    backbone = features_of(network)
    known = ~np.isnan(mean).any(axis=0)
    outputs = keras.layers.Dense(mean.shape[1], name="nearest_mean")
    features = keras.layers.UnitNormalization(name="unit_features")(backbone.output)
    model = keras.Model(backbone.inputs[0], outputs(features))
    kernel = np.where(known, 2.0 * mean, 0.0)
    outputs.set_weights([kernel, np.where(known, -np.square(mean).sum(axis=0), UNKNOWN)])
    return model
