"""Search spaces, by the name that `NASClassifier` takes."""

from __future__ import annotations

from autokit.nas.spaces.cell import CELL_SPACE_OPS, DARTS_OPS, CellArchitecture, CellSpace
from autokit.nas.spaces.cnn import CNNArchitecture, CNNSpace
from autokit.nas.spaces.dimensions import Choice, Choices
from autokit.nas.spaces.drawing import plot_cell
from autokit.nas.spaces.mlp import MLPArchitecture, MLPSpace
from autokit.nas.spaces.nb201 import NB201_OPS, NB201Architecture, NB201Space
from autokit.nas.spaces.product import ProductSpace

SPACES = {"cell": CellSpace, "cnn": CNNSpace, "mlp": MLPSpace, "nb201": NB201Space}

__all__ = [
    "CELL_SPACE_OPS",
    "CNNArchitecture",
    "CNNSpace",
    "CellArchitecture",
    "CellSpace",
    "Choice",
    "Choices",
    "DARTS_OPS",
    "MLPArchitecture",
    "MLPSpace",
    "NB201Architecture",
    "NB201Space",
    "NB201_OPS",
    "ProductSpace",
    "SPACES",
    "plot_cell",
]
