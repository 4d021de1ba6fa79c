"""Elastic weight consolidation."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from autokit._backend import tf
from autokit.continual.heads import EXCLUDED
from autokit.continual.importance import importance, own_units
from autokit.continual.protocols import Strategy
from autokit.training import quadratic_penalty


@dataclass(kw_only=True, eq=False, repr=False)
class EWC(Strategy):
    """Pull each weight to where it was, by how much the answers depend on it.

    ::

        loss' = loss + strength / 2 * sum_k sum_i F_ki (p_i - a_ki)^2
        F_ki  = mean_b (d log q(y_b | x_b, a_k) / d a_ki)^2

    with a penalty for each earlier experience k, whose weights were a_k. A sum of quadratics is a
    quadratic, so they are kept as one: the state does not grow. With `online` there is one
    running penalty, around the last weights: ``F <- decay * F + F_k`` and ``a <- a_k``.

    Parameters
    ----------
    strength : float, default=1e5
        Lambda, per row: F is a mean over rows. The default is the least power of ten that forgot
        next to nothing on split digits with a head a task; where tasks share a
        head 1e4 kept more.
    fisher : {"true", "empirical"}, default="true"
        Whose y_b: labels drawn from the network's own probabilities, or those of the data. For a
        regression q is a Gaussian of variance 1 (of the scaled target) around the output.
    n_fisher : int, default=None
        Rows of an experience that F is measured on, drawn at random; None takes 2,000 at most.
    online : bool, default=False
    decay : float in [0, 1], default=1.0
        Of the running penalty with `online`.

    References
    ----------
    Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", 2017, equation 3,
    with the diagonal of the Fisher information. `online`: Schwarz et al., "Progress & Compress",
    2018, section 3.2 (decay is their gamma). Units of other heads than a row's own get no F.
    Statistics of batch normalisation are not held.

    Examples
    --------
    >>> from autokit.continual import EWC
    >>> EWC(strength=10.0).strength
    10.0
    """

    strength: float = 1e5
    fisher: str = "true"
    n_fisher: int | None = None
    online: bool = False
    decay: float = 1.0

    weak_without_task: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {
        "strength": [Interval(Real, 0, None, closed="left")],
        "fisher": [StrOptions({"true", "empirical"})],
        "n_fisher": [None, Interval(Integral, 1, None, closed="left")],
        "online": ["boolean"],
        "decay": [Interval(Real, 0, 1, closed="both")],
    }

    def key(self) -> str:
        return "EWC"

    def start(self, params, buffers):
        return {
            "weight": [np.zeros_like(p) for p in params],
            "anchor": [np.zeros_like(p) for p in params],
        }

    def objective(self, objective, step):
        return quadratic_penalty(objective, step.state["anchor"], step.state["weight"])

    def after(self, experience):
        slope = _drawn if self.fisher == "true" else _given
        found = importance(experience, f"{self.fisher} Fisher", slope, tf.square, self.n_fisher)
        new = [np.float32(self.strength / 2) * f for f in found]
        learnt = experience.learnt.params
        old, anchor = experience.state["weight"], experience.state["anchor"]
        if self.online:
            weight = [np.float32(self.decay) * w + v for w, v in zip(old, new, strict=True)]
            return {"weight": weight, "anchor": list(learnt)}
        weight = [w + v for w, v in zip(old, new, strict=True)]
        parts = zip(anchor, learnt, new, weight, strict=True)
        return {"weight": weight, "anchor": [_between(*part) for part in parts]}


def _between(anchor, learnt, new, total):
    """Where the sum of two quadratics is least; where both are flat, the old anchor."""
    share = np.divide(new, total, out=np.ones_like(total), where=total > 0)
    return anchor + share * (learnt - anchor)


def _drawn(outputs, y, step, seed):
    """The slope of the likelihood of targets drawn from the network's own answer."""
    own = own_units(step, y)
    if step.classifies:
        logits = tf.where(own, outputs, EXCLUDED)
        label = tf.random.stateless_categorical(logits, 1, seed, tf.int32)[:, 0]
        return tf.nn.softmax(logits) - tf.one_hot(label, tf.shape(outputs)[1])
    # signs have the second moments of a unit Gaussian, and less noise
    bits = tf.random.stateless_uniform(tf.shape(outputs), seed, 0, 2, tf.int32)
    return tf.where(own, tf.cast(2 * bits - 1, tf.float32), 0.0)


def _given(outputs, y, step, seed):
    """The slope of the likelihood of the data's own targets."""
    own = own_units(step, y)
    if step.classifies:
        probabilities = tf.nn.softmax(tf.where(own, outputs, EXCLUDED))
        return probabilities - tf.one_hot(y, tf.shape(outputs)[1])
    width = y.shape[1] - 1
    targets = tf.gather(y, tf.range(tf.shape(outputs)[1]) % width, axis=1)
    return tf.where(own, outputs - targets, 0.0)
