"""Search spaces, by the name that `NASClassifier` takes."""

from __future__ import annotations

from autokit.nas.spaces.cnn import CNNArchitecture, CNNSpace
from autokit.nas.spaces.dimensions import Choice, Choices
from autokit.nas.spaces.mlp import MLPArchitecture, MLPSpace
from autokit.nas.spaces.product import ProductSpace

SPACES = {"cnn": CNNSpace, "mlp": MLPSpace}

__all__ = [
    "SPACES",
    "CNNArchitecture",
    "CNNSpace",
    "Choice",
    "Choices",
    "MLPArchitecture",
    "MLPSpace",
    "ProductSpace",
]
