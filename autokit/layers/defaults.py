"""The network an estimator uses when it is given none."""

from __future__ import annotations

from typing import Any

from autokit._backend import keras
from autokit.layers.networks import cnn, mlp, sequence


def default_model(kind: str, input_shape, n_outputs: int, output_activation: str) -> keras.Model:
    """A sensible network for the input.

    Parameters
    ----------
    kind : {"table", "image", "sequence", "array"}
        As the encoders say.
    input_shape : tuple of int
        Of one encoded row.
    n_outputs : int
    output_activation : {"softmax", "linear"}

    Returns
    -------
    keras.Model
        A two-layer perceptron with dropout for tables, a small residual network for images from
        8 x 8, a convolutional one for sequences, a perceptron for anything else.
    """
    small = kind == "image" and min(input_shape[:2]) < 8
    builder = {"image": cnn, "sequence": sequence}.get(kind, mlp)
    options: dict[str, Any] = {"output_activation": output_activation}
    if small or builder is mlp:
        builder, options["dropout"] = mlp, 0.1
    return builder(input_shape, n_outputs, **options)
