"""The space of multi-layer perceptrons, for tables."""

from __future__ import annotations

from dataclasses import dataclass

from autokit.layers import networks
from autokit.nas.spaces.dimensions import Choice, Choices
from autokit.nas.spaces.product import ProductSpace


@dataclass(frozen=True)
class MLPArchitecture:
    """One perceptron: the arguments of `autokit.layers.mlp`."""

    widths: tuple[int, ...]
    activation: str
    normalization: str | None
    dropout: float
    residual: bool


@dataclass(frozen=True)
class MLPSpace(ProductSpace):
    """Multi-layer perceptrons.

    Parameters
    ----------
    widths : tuple of int, default=(32, 64, 128, 256)
        What each hidden layer may have.
    max_depth : int, default=4
        Hidden layers at most; at least one.
    activations, normalizations, dropouts, residuals : tuple
        Choices of the arguments of `autokit.layers.mlp`.

    Examples
    --------
    >>> from autokit.nas import MLPSpace
    >>> MLPSpace(max_depth=2).default
    MLPArchitecture(widths=(128, 64), activation='relu', normalization='batch', dropout=0.2, \
residual=False)
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    max_depth: int = 4
    activations: tuple[str, ...] = networks.ACTIVATIONS
    normalizations: tuple[str | None, ...] = networks.NORMALIZATIONS
    dropouts: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4)
    residuals: tuple[bool, ...] = (False, True)

    architecture_type = MLPArchitecture
    reference = MLPArchitecture((128, 64), "relu", "batch", 0.2, False)

    @property
    def dimensions(self):
        """What may be decided, by the name of the architecture's field."""
        return {
            "widths": Choices(tuple(self.widths), self.max_depth),
            "activation": Choice(tuple(self.activations)),
            "normalization": Choice(tuple(self.normalizations)),
            "dropout": Choice(tuple(self.dropouts)),
            "residual": Choice(tuple(self.residuals)),
        }

    def build(self, architecture, input_shape, n_outputs, output_activation):
        """Return the untrained model."""
        return networks.mlp(
            input_shape,
            n_outputs,
            output_activation=output_activation,
            widths=architecture.widths,
            activation=architecture.activation,
            normalization=architecture.normalization,
            dropout=architecture.dropout,
            residual=architecture.residual,
        )
