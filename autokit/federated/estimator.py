"""FederatedTrainer: a classifier trained on rows that stay with their clients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from autokit.base import BaseKerasClassifier
from autokit.federated.arguments import about
from autokit.federated.lifecycle import FederatedEstimator
from autokit.federated.parameters import ATTRIBUTES_DOC, PARAMETERS_DOC
from autokit.fitting import missing_activation
from autokit.preprocessing import ClassLabels


class FederatedTrainer(FederatedEstimator, BaseKerasClassifier):
    __doc__ = (
        """A classifier that is trained on rows which stay with their clients.

    In each round some clients train the server's model on their own rows, and the server takes a
    step along the mean of what they made of it. The engine says where that happens; the batches
    and the answer are the same on each.
"""
        + PARAMETERS_DOC.format(plain="KerasClassifier")
        + ATTRIBUTES_DOC.format(score=" and score (accuracy)", units="")
        + """
    classes_ : np.ndarray of shape (n_classes,)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from autokit import FederatedTrainer
    >>> X, y = load_digits(return_X_y=True)
    >>> hospital = np.arange(len(y)) % 10
    >>> trainer = FederatedTrainer(n_rounds=10, random_state=0).fit(X, y, client_ids=hospital)
    >>> bool(trainer.score(X, y) > 0.9)
    True
    >>> len(trainer.history_["clients"][0])
    10
    """
    )

    _parameter_constraints: ClassVar[dict] = {**FederatedEstimator._parameter_constraints}
    _default_activation, _default_rate = "softmax", 0.1

    def _n_outputs(self) -> int:
        return len(self.classes_)

    def _accepts_width(self, width, n_outputs) -> bool:
        return width == n_outputs or (width == 1 and n_outputs == 2)

    def _built(self, model) -> None:
        self.output_activation_ = missing_activation(model, None)

    def _target_of(self, y):
        return ClassLabels().fit(y, type(self).__name__, n_least=1)

    def _classes_of(self, targets):
        return np.unique(np.concatenate(targets))

    def _encode_new_target(self, y, classes):
        codes = super()._encode_new_target(y if classes is None else classes, None)
        if classes is None:
            return codes
        with about("classes does not go with y"):
            return self.target_.encode(y, type(self).__name__)

    def _judged(self, outputs, y):
        codes = self.target_.encode(y, type(self).__name__)
        score = float(np.mean(outputs.argmax(axis=1) == codes))
        right = outputs[np.arange(len(codes)), codes].astype(np.float64)
        # 1e-7: the float32 floor Keras uses for its own cross-entropies
        return score, float(-np.log(np.maximum(right, 1e-7)).mean())
