"""Which layer is at fault when a model cannot be exported, or its file disagrees with it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from autokit._backend import keras
from autokit.deploy.convert import Arrays, Unconvertible
from autokit.deploy.proof import ExportError

_ROUNDING = 0.01  # an error that every layer may have
# Keras layers whose operators LiteRT has not built in, and what does their work.
_WAYS_OUT = {
    "IntegerLookup": "let the rows carry codes from 0 on, and use Embedding",
    "TextVectorization": "turn texts into codes before the model, and export the rest of it",
    "Hashing": "turn texts into codes before the model, and export the rest of it",
    "HashedCrossing": "cross the columns before the model, and export the rest of it",
    "RandomFourierFeatures": "use Dense",
}


def layers_of(model: keras.Model) -> list[keras.Layer]:
    """List all layers of a model, those inside others after them.

    Parameters
    ----------
    model : keras.Model
        A built model.

    Returns
    -------
    list of keras.Layer
        Without the model itself and its inputs.
    """
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if not isinstance(layer, keras.layers.InputLayer)
    ]


def layer_at(model: keras.Model, paths: Iterable[str]) -> keras.Layer | None:
    """Find the layer that a node of the graph belongs to.

    Parameters
    ----------
    model : keras.Model
        The network.
    paths : iterable of str
        Names of nodes, such as "functional_1/dense_2/MatMul".

    Returns
    -------
    keras.Layer or None
        The innermost layer of the model's own structure, or None if no name tells.
    """
    named = {layer.name: layer for layer in reversed(layers_of(model))}
    outer = {layer.name for layer in model.layers}
    for path in paths:
        scopes = [s for part in re.split("[;:]", path) for s in part.split("/")]
        # A second call of a layer has its name with a number behind it.
        found = [named[n] for s in scopes for n in (s, re.sub(r"_\d+$", "", s)) if n in named]
        if found:
            # What users wrote is the outer layer: the cell of an LSTM says them nothing.
            return next((layer for layer in found if layer.name in outer), found[0])
    return None


def in_layer(error: Unconvertible, model: keras.Model) -> ExportError:
    """Say of an error in which layer it lies, and what can be done about that one.

    Parameters
    ----------
    error : Unconvertible
        From the converter.
    model : keras.Model
        The network.

    Returns
    -------
    ExportError
        `error` itself if its layer is not known.
    """
    layer = layer_at(model, error.paths)
    if layer is None:
        return error
    cure = _WAYS_OUT.get(type(layer).__name__, error.cure)
    if is_custom(layer):
        cure = f"write its call in other operations of keras.ops or TensorFlow; or {error.cure}"
    return ExportError(f"estimator_or_model: {described(layer)} {error.problem}; {cure}.")


def described(layer: keras.Layer) -> str:
    """Return how messages speak of a layer."""
    own = ", a layer of your own," if is_custom(layer) else ""
    return f"the layer {layer.name!r} ({type(layer).__name__}){own}"


def is_custom(layer: keras.Layer) -> bool:
    """Whether a layer is the user's: neither Keras' nor this package's."""
    return type(layer).__module__.partition(".")[0] not in ("keras", "autokit")


def first_to_part(expected: Arrays, got: Arrays) -> tuple[int, float] | None:
    """Find where two runs of one network part.

    Parameters
    ----------
    expected, got : dict of str to ndarray of shape (n_rows, ...)
        Outputs of its layers, in the order of the network.

    Returns
    -------
    tuple of (int, float) or None
        The layer whose error is the largest multiple of those of all before it, and that error:
        the median over rows of the largest difference, as a share of the output's range. None
        if all errors are those of rounding.
    """
    before, worst = _ROUNDING, (1.0, None)
    for i, name in enumerate(expected):
        values = np.asarray(expected[name], np.float64)
        difference = np.abs(values - np.asarray(got[name], np.float64))
        by_row = difference.reshape(len(values), -1).max(axis=1)
        # NaN is as wrong as can be.
        error = float(np.nan_to_num(np.median(by_row), nan=np.inf) / (np.ptp(values) or 1.0))
        worst = max(worst, (error / before, (i, error)), key=lambda found: found[0])
        before = max(before, error)
    return worst[1]
