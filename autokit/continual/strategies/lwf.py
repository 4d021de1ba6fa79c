"""Learning without forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

from sklearn.utils._param_validation import Interval

from autokit._backend import tf
from autokit.continual.protocols import Strategy


@dataclass(kw_only=True, eq=False, repr=False)
class LwF(Strategy):
    """Answer on the new rows as the network did before it saw them.

    ::

        loss' = 1/n * loss + (1 - 1/n) * mean_h T^2 CE(q_h(x, before), q_h(x))     n-th experience
        q_h   = softmax of the outputs / T over the units of head h

    over the heads that are older than the experience. New units of such a head had probability 0.

    For a regression the second term is the mean squared difference to the former outputs. No row
    is kept: the former network is there while an experience is learnt, and nothing in between.

    Parameters
    ----------
    temperature : float, default=2.0

    References
    ----------
    Li and Hoiem, "Learning without forgetting", 2017, equations 2 and 3 (a cross-entropy for
    their rescaled probabilities, equal to it). The weights, the mean over heads, and new units in
    an old head are those of van de Ven, Tuytelaars, Tolias, "Three types of incremental learning",
    2022. All weights train together from the start: the paper's first phase, on the new head
    alone, is left out.

    Examples
    --------
    >>> from autokit.continual import LwF
    >>> LwF().temperature
    2.0
    """

    temperature: float = 2.0

    weak_without_task: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict] = {
        "temperature": [Interval(Real, 0, None, closed="neither")]
    }

    def before(self, experience):
        params, buffers = experience.before
        return {"params": list(params), "buffers": tuple(buffers)}

    def objective(self, objective, step):
        state = step.state
        share = 1.0 - 1.0 / (1.0 + tf.cast(step.n_before, tf.float32))

        def distilled(params, buffers, batch):
            new = objective(params, buffers, batch)
            # the objective's own outputs are of each row's head alone
            now = step.outputs(params, buffers, batch.x, training=True)
            former = step.outputs(state["params"], list(state["buffers"]), batch.x)
            now, former = (tf.cast(part, tf.float32) for part in (now, former))
            if step.classifies:
                old = distance(former, now, step.groups, step.known, self.temperature)
            else:
                old = _squared(former, now, step.known)
            return new._replace(loss=(1.0 - share) * new.loss + share * old)

        return distilled

    def after(self, experience):
        return {}


def distance(former, now, groups, known, temperature: float):
    """The mean over rows and heads of the cross-entropy to former answers.

    ``T^2 CE(softmax(former / T), softmax(now / T))`` over the units of a head; units that are new
    have the former probability 0.

    Parameters
    ----------
    former, now : tf.Tensor of shape (n_rows, n_units)
    groups : tf.Tensor of int32, shape (n_units,)
    known : tf.Tensor of bool, shape (n_units,)
    temperature : float

    Returns
    -------
    tf.Tensor of shape ()
    """
    head = tf.where(known, groups, -1)  # units without a head are dropped from sums
    target = tf.exp(_log_softmax(tf.stop_gradient(former) / temperature, head))
    each = -target * _log_softmax(now / temperature, groups)
    total = tf.reduce_sum(tf.where(known, each, 0.0)) / tf.cast(tf.shape(now)[0], tf.float32)
    is_used = tf.math.unsorted_segment_max(tf.cast(known, tf.int32), head, tf.shape(head)[0]) > 0
    n_heads = tf.reduce_sum(tf.cast(is_used, tf.float32))
    return temperature**2 * total / tf.maximum(n_heads, 1.0)


def _log_softmax(outputs, head):
    """By head; 0 for units without one."""
    by_unit, n_heads = tf.transpose(outputs), tf.shape(head)[0]
    place = tf.maximum(head, 0)
    most = tf.math.unsorted_segment_max(tf.stop_gradient(by_unit), head, n_heads)
    shifted = tf.where(head[:, None] < 0, 0.0, by_unit - tf.gather(most, place))
    total = tf.math.unsorted_segment_sum(tf.exp(shifted), head, n_heads)
    # a head without units has the sum 0, and is asked for by units without a head alone
    log_total = tf.math.log(tf.where(total > 0, total, 1.0))
    return tf.transpose(tf.where(head[:, None] < 0, 0.0, shifted - tf.gather(log_total, place)))


def _squared(former, now, known):
    """The mean squared difference over known units."""
    wanted = tf.cast(known, tf.float32)
    squares = tf.reduce_mean(tf.square(now - tf.stop_gradient(former)), axis=0)
    return tf.reduce_sum(squares * wanted) / tf.maximum(tf.reduce_sum(wanted), 1.0)
