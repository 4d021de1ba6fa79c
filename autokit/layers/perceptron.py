"""A perceptron whose size can be searched, as the parameter `model` of an estimator."""

from __future__ import annotations

from sklearn.base import BaseEstimator

from autokit._backend import keras
from autokit.layers.networks import mlp


class Perceptron(BaseEstimator):
    """Builds a perceptron of equal hidden layers: ``KerasClassifier(model=Perceptron())``.

    Its parameters are found by scikit-learn's searches as ``model__width`` and so on. As with the
    network that is the default, inputs and regression targets are standardised.

    Parameters
    ----------
    width : int, default=64
        Units of each hidden layer.
    depth : int, default=2
        Hidden layers.
    dropout : float, default=0.1
    activation, normalization, residual
        See `autokit.layers.mlp`.

    Examples
    --------
    >>> from autokit import KerasClassifier
    >>> from autokit.layers import Perceptron
    >>> estimator = KerasClassifier(model=Perceptron()).set_params(model__width=8)
    >>> estimator.model((4,), 3).layers[1].units
    8
    """

    standardizes = True

    def __init__(
        self,
        width=64,
        depth=2,
        dropout=0.1,
        activation="relu",
        normalization=None,
        residual=False,
    ):
        self.width = width
        self.depth = depth
        self.dropout = dropout
        self.activation = activation
        self.normalization = normalization
        self.residual = residual

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.get_params() == self.get_params()

    def __hash__(self) -> int:
        return hash(tuple(sorted((name, repr(v)) for name, v in self.get_params().items())))

    def __call__(self, input_shape, n_outputs: int) -> keras.Model:
        """The network for rows of a shape, without an activation at its end."""
        return mlp(
            input_shape,
            n_outputs,
            widths=(self.width,) * self.depth,
            activation=self.activation,
            normalization=self.normalization,
            dropout=self.dropout,
            residual=self.residual,
        )
