"""Experience replay with an asymmetric cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from autokit._backend import keras, tf
from autokit.continual.heads import EXCLUDED
from autokit.continual.strategies.rehearsal import Rehearsal, rehearsed


@dataclass(kw_only=True, eq=False, repr=False)
class ERACE(Rehearsal):
    """New rows compare their own classes alone; rehearsed rows compare all.

    ::

        loss = CE(batch, over the classes in the batch) + CE(rehearsed rows, over all classes)
        CE(rehearsed rows) = 1/n * CE(batch) + (1 - 1/n) * CE(memory rows)      n-th experience

    So new classes push away old ones only as much as their share of all rows allows.

    Parameters
    ----------
    select : {"balanced", "herding", "reservoir"}, default="reservoir"
        What the memory keeps: as many rows of each class, those whose features together are
        nearest to their class's mean, or a uniform sample of all rows seen.

    References
    ----------
    Caccia, Aljundi, Asadi, Tuytelaars, Pineau, Belilovsky, "New insights on reducing abrupt
    representation change in online continual learning", 2022, equation 4. The paper's memory is
    filled while an experience is learnt, and its share of new rows grows to 1/n; this one is
    filled afterwards, and the batch stands for them with that weight. As long as the memory is
    empty, new rows compare all classes.

    Examples
    --------
    >>> from autokit.continual import ERACE
    >>> ERACE().selection
    'reservoir'
    """

    select: str = "reservoir"

    classifies_only: ClassVar[bool] = True

    def objective(self, objective, step):
        own = step.own()
        share = tf.cast(step.n_before / (step.n_before + 1), tf.float32)
        cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        def asymmetric(params, buffers, batch):
            new = objective(params, buffers, batch)
            old = rehearsed(own, params, new, step)
            logits = tf.cast(new.outputs, tf.float32)
            present = tf.reduce_max(tf.one_hot(batch.y, tf.shape(logits)[1]), axis=0)
            few = logits + (1.0 - present) * EXCLUDED
            weight = batch.weight
            over_all = cross_entropy(batch.y, logits, weight)
            over_few = cross_entropy(batch.y, few, weight)
            more = over_few - share * over_all + share * old.loss
            loss = new.loss + step.has_memory * more
            return new._replace(loss=loss, buffers=old.buffers)

        return asymmetric
