"""FederatedRegressor: a regressor trained on rows that stay with their clients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.metrics import r2_score

from autokit.base import BaseKerasRegressor
from autokit.federated.lifecycle import FederatedEstimator
from autokit.federated.parameters import ATTRIBUTES_DOC, PARAMETERS_DOC
from autokit.preprocessing import RegressionTarget


class FederatedRegressor(FederatedEstimator, BaseKerasRegressor):
    __doc__ = (
        """A regressor that is trained on rows which stay with their clients.

    As `FederatedTrainer`, for one target or several.
"""
        + PARAMETERS_DOC.format(plain="KerasRegressor")
        + ATTRIBUTES_DOC.format(
            score="",
            units=""" Losses are squared errors of standardised targets where `model` is None
        (``target_.scale_ ** 2`` of them make one in the units of y).""",
        )
        + """
    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from autokit import FederatedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> hospital = np.arange(len(y)) % 5
    >>> reg = FederatedRegressor(n_rounds=20, random_state=0)
    >>> bool(reg.fit(X, y, client_ids=hospital).score(X, y) > 0.4)
    True
    """
    )

    _parameter_constraints: ClassVar[dict] = {**FederatedEstimator._parameter_constraints}
    # squared errors are steeper than cross-entropies: at 0.1 the default network diverges
    _default_activation, _default_rate = "linear", 0.02

    def _n_outputs(self) -> int:
        return self.target_.n_outputs_

    def _target_of(self, y):
        return RegressionTarget(self._standardizes()).fit(y, type(self).__name__)

    def _judged(self, outputs, y):
        # in the units of the training, as the clients' own losses are
        wanted = self.target_.encode(y, type(self).__name__).astype(np.float64)
        loss = float(np.mean((outputs - wanted) ** 2))
        guesses = self.target_.decode(outputs)
        y = np.asarray(y, dtype=np.float64).reshape(guesses.shape)
        return (float(r2_score(y, guesses)) if len(y) > 1 else float("nan")), loss
