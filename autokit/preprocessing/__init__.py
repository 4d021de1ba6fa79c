"""What a column or an array is, and the encoders between the user's rows and a model.

Importing this package needs NumPy only: scikit-learn loads with the first encoder, and
TensorFlow when an encoder writes its graph.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from autokit.preprocessing.raw import RawRows
from autokit.preprocessing.validation import check_lengths

if TYPE_CHECKING:
    from autokit.preprocessing.array import ArrayEncoder
    from autokit.preprocessing.encoder import Encoder, make_encoder
    from autokit.preprocessing.table import TableEncoder
    from autokit.preprocessing.targets import ClassLabels, RegressionTarget

__all__ = [
    "ArrayEncoder",
    "ClassLabels",
    "Encoder",
    "RawRows",
    "RegressionTarget",
    "TableEncoder",
    "check_lengths",
    "make_encoder",
]

_HOMES = {
    "ArrayEncoder": "array",
    "ClassLabels": "targets",
    "Encoder": "encoder",
    "RegressionTarget": "targets",
    "TableEncoder": "table",
    "make_encoder": "encoder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
