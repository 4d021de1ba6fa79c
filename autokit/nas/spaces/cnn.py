"""The space of convolutional networks, for images from 8x8 up."""

from __future__ import annotations

from dataclasses import dataclass

from autokit.layers import networks
from autokit.nas.spaces.dimensions import Choice, Choices
from autokit.nas.spaces.product import ProductSpace


@dataclass(frozen=True)
class CNNArchitecture:
    """One convolutional network.

    Parameters
    ----------
    stem_width : int
        Filters of the stem and of the first stage.
    blocks : tuple of int
        Blocks of each stage.
    block : {"plain", "residual", "separable", "inverted"}
        See `autokit.layers.cnn`.
    width_multiplier : float
        Filters of a stage relative to the stage before.
    kernel_size : int
        Side of the kernels in the blocks.
    dropout : float
        Dropped share of the pooled features.
    """

    stem_width: int
    blocks: tuple[int, ...]
    block: str
    width_multiplier: float
    kernel_size: int
    dropout: float


@dataclass(frozen=True)
class CNNSpace(ProductSpace):
    """Convolutional networks of a stem and stages of equal blocks.

    The defaults are cheap enough for a search of a minute on two cores; widen them for larger
    images and longer searches. There is no augmentation: on 8x8 digits random shifts cost a
    quarter to two thirds more time and gained nothing.

    Parameters
    ----------
    stem_widths : tuple of int, default=(16, 24, 32)
    max_stages : int, default=3
    max_blocks : int, default=2
        Blocks of one stage at most; at least one.
    blocks : tuple of str, default=("plain", "residual", "separable", "inverted")
        Kinds of blocks.
    width_multipliers : tuple of float, default=(1.0, 1.5, 2.0)
    kernel_sizes : tuple of int, default=(3, 5)
    dropouts : tuple of float, default=(0.0, 0.2, 0.4)

    Examples
    --------
    >>> import numpy as np
    >>> from autokit.nas import CNNSpace
    >>> space = CNNSpace(max_stages=2)
    >>> space.build(space.default, (8, 8), 10, "softmax").output_shape
    (None, 10)
    """

    stem_widths: tuple[int, ...] = (16, 24, 32)
    max_stages: int = 3
    max_blocks: int = 2
    blocks: tuple[str, ...] = networks.BLOCKS
    width_multipliers: tuple[float, ...] = (1.0, 1.5, 2.0)
    kernel_sizes: tuple[int, ...] = (3, 5)
    dropouts: tuple[float, ...] = (0.0, 0.2, 0.4)

    architecture_type = CNNArchitecture
    reference = CNNArchitecture(32, (1, 1), "residual", 2.0, 3, 0.2)

    @property
    def dimensions(self):
        """What may be decided, by the name of the architecture's field."""
        return {
            "stem_width": Choice(tuple(self.stem_widths)),
            "blocks": Choices(tuple(range(1, self.max_blocks + 1)), self.max_stages),
            "block": Choice(tuple(self.blocks)),
            "width_multiplier": Choice(tuple(self.width_multipliers)),
            "kernel_size": Choice(tuple(self.kernel_sizes)),
            "dropout": Choice(tuple(self.dropouts)),
        }

    def check_input(self, input_shape) -> None:
        """Refuse rows that are no images."""
        if len(input_shape) not in (2, 3) or min(input_shape[:2]) < 8:
            raise ValueError(
                f"The 'space' parameter is a cnn, which takes images from 8x8 up, but the rows of "
                f"X have shape {tuple(input_shape)}; reshape X to (n_samples, height, width) or "
                "(n_samples, height, width, channels), or choose space='mlp'."
            )

    def build(self, architecture, input_shape, n_outputs, output_activation):
        """Return the untrained model."""
        growth = architecture.width_multiplier
        stages = range(len(architecture.blocks))
        return networks.cnn(
            input_shape,
            n_outputs,
            output_activation=output_activation,
            stem_width=architecture.stem_width,
            widths=[_multiple_of_8(architecture.stem_width * growth**stage) for stage in stages],
            blocks=architecture.blocks,
            block=architecture.block,
            kernel_size=architecture.kernel_size,
            dropout=architecture.dropout,
        )


def _multiple_of_8(width: float) -> int:
    """Vector units of phones work on 8 channels at a time."""
    return max(8, int(width / 8 + 0.5) * 8)
