"""The parameters that the few-shot estimators share, and what is said about them."""

from __future__ import annotations

import os
from numbers import Integral, Real

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from autokit._backend import keras
from autokit.meta.encoder import AUTO
from autokit.meta.methods import METHODS

_POSITIVE = Interval(Integral, 1, None, closed="left")
_RATE = Interval(Real, 0, None, closed="neither")
DEFAULT_PATIENCE = 10
DEFAULT_VALIDATION_FRACTION = 0.2
TURNED = "rotations"

PARAMETERS_DOC = """
    Parameters
    ----------
    method : str or MetaLearner, default="{default}"
        {methods}; or an instance, with parameters of its own.
    encoder : "auto", keras.Model or callable, default="auto"
        From a row to features. A model is copied with its weights; a function builds one from
        ``input_shape``. "auto" chooses by the input: four convolutions for images
        (`autokit.layers.conv4`), convolutions over time for sequences, two dense layers for
        tables; its inputs are standardised. An encoder of yours sees numbers as they are.{way}
    k_shot : int, default={k_shot}
        Support rows of {each} in training. A learner adapts to any other number as well.
    n_query : int, default={n_query}
        Rows of {each} that a task is judged by.
    n_episodes : int, default=1000
        Tasks in training.
    meta_batch_size : int or None, default=None
        Tasks of one step of the outer loop; None takes the method's own (1 for those that compare
        embeddings, 8 for the MAML family, 5 for Reptile).
    inner_steps, inner_learning_rate, adaptation_steps, first_order
        Of the MAML family, see `MAML` and `Reptile`: gradient steps and their rate in training,
        steps on a new task, no second derivatives. None takes the method's own; others ignore
        them.
    outer_learning_rate : float or None, default=None
        None is 0.001, of Adam; Reptile's is 1.0.
    transductive : bool, default=False
        Whether batch normalisation uses the statistics of all rows that are asked together, as
        the MAML paper's figures do. An answer then depends on the other rows, and the model cannot
        be exported. Otherwise: moving averages of the training, or statistics of the support set
        where weights are adapted.{distance}
    augment : {{"rotations"}} or None, default=None
        "rotations": each class of square images, turned by 90, 180 and 270 degrees, is three more
        classes. For other augmentation begin the encoder with Keras' random layers.
    validation_fraction : float in [0, 1) or None, default=None
        Share of {classes} held out of training, on which {score} is measured after every epoch
        of 100 outer steps. None is 0.2 with early stopping and 0 without.
    early_stopping : bool or int, default=False
        Epochs of patience (True is 10) without a better score on what is held out; the best
        epoch's weights are restored.
    storage : path or None, default=None
        A file that is replaced after every epoch: a training that was killed goes on from it, and
        one that has ended goes on to more episodes, with another `outer_learning_rate` if given.
    random_state : int, RandomState or None, default=None
        Seeds weights, dropout and the tasks drawn.
    verbose : int, default=0
        1 shows a progress bar.
"""


class FewShotParameters:
    """What is checked of the parameters."""

    _parameter_constraints: dict = {
        "method": [StrOptions(set(METHODS)), HasMethods(["meta_gradient", "adapted"])],
        "encoder": [StrOptions({AUTO}), callable, keras.Model],
        "n_way": [Interval(Integral, 2, None, closed="left")],
        "k_shot": [_POSITIVE],
        "n_query": [_POSITIVE],
        "n_episodes": [_POSITIVE],
        "meta_batch_size": [None, _POSITIVE],
        "inner_steps": [None, _POSITIVE],
        "inner_learning_rate": [None, _RATE],
        "adaptation_steps": [None, _POSITIVE],
        "outer_learning_rate": [None, _RATE],
        "first_order": [None, "boolean"],
        "transductive": ["boolean"],
        "augment": [None, StrOptions({TURNED})],
        "validation_fraction": [None, Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean", _POSITIVE],
        "storage": [None, str, os.PathLike],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @property
    def _patience(self) -> int | None:
        patience = DEFAULT_PATIENCE if self.early_stopping is True else self.early_stopping
        return int(patience) if patience else None

    @property
    def _held_share(self) -> float:
        if self.validation_fraction is None:
            return DEFAULT_VALIDATION_FRACTION if self.early_stopping else 0.0
        return float(self.validation_fraction)
