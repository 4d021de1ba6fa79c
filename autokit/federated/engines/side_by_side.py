"""Which networks of many clients can be trained side by side, and the form in which they are."""

from __future__ import annotations

import math

from autokit._backend import keras
from autokit.federated.protocols import Federation
from autokit.layers.patches import PatchConv2D
from autokit.training.programs import architecture_key

# Beyond this many weights a client's own matrices fill the caches, and side by side is slower.
SIDE_BY_SIDE_WEIGHTS = 30_000
# Beyond this many numbers in a row's patches TensorFlow's own convolution is faster.
SIDE_BY_SIDE_PATCHES = 4096

_ROWWISE = (
    "Activation", "Add", "AveragePooling2D", "Concatenate", "Dense", "ELU", "Flatten",
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "InputLayer", "LayerNormalization", "LeakyReLU",
    "MaxPooling2D", "Multiply", "PReLU", "ReLU", "Rescaling", "Reshape", "Softmax", "Subtract",
)  # fmt: skip


def is_side_by_side(federation: Federation) -> bool:
    """Whether a network's clients are trained at once: rows and clients must not mix in it."""
    model, layers = federation.model, federation.model.layers
    if federation.privacy is not None and not federation.privacy.hides_clients:
        return False  # gradients of single rows are clipped a client at a time
    return (
        (isinstance(model, keras.Sequential) or type(model).__name__ == "Functional")
        and federation.layout.size <= SIDE_BY_SIDE_WEIGHTS
        and architecture_key(model) is not None
        and all(type(layer).__name__ in _ROWWISE or _has_patches(layer) for layer in layers)
        and all(getattr(layer, "activity_regularizer", None) is None for layer in layers)
        and sum(_patch_numbers(layer) for layer in layers) <= SIDE_BY_SIDE_PATCHES
    )


def _has_patches(layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.groups == 1
        and layer.dilation_rate == (1, 1)
        and layer.data_format == "channels_last"
        and None not in layer.input.shape[1:]
    )


def _patch_numbers(layer) -> int:
    """Numbers in the patches of one row that a convolution multiplies."""
    if not _has_patches(layer):
        return 0
    return math.prod(layer.output.shape[1:3]) * math.prod(layer.kernel.shape[:3])


def with_patches(layer):
    """A copy of a layer for `keras.models.clone_model`."""
    kind = PatchConv2D if _has_patches(layer) else type(layer)
    return kind.from_config(layer.get_config())
