"""Search spaces, by the name that `NASClassifier` takes."""

from __future__ import annotations

from autokit.nas.spaces.cnn import CNNArchitecture, CNNSpace
from autokit.nas.spaces.dimensions import Choice, Choices
from autokit.nas.spaces.mlp import MLPArchitecture, MLPSpace
from autokit.nas.spaces.nb201 import NB201_OPS, NB201Architecture, NB201Space
from autokit.nas.spaces.product import ProductSpace

SPACES = {"cnn": CNNSpace, "mlp": MLPSpace, "nb201": NB201Space}

__all__ = [
    "NB201_OPS",
    "SPACES",
    "CNNArchitecture",
    "CNNSpace",
    "Choice",
    "Choices",
    "MLPArchitecture",
    "MLPSpace",
    "NB201Architecture",
    "NB201Space",
    "ProductSpace",
]
