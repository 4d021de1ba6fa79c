"""One-shot methods, by the name that `NASClassifier` takes.

Each is a function ``(space, task, *, epochs, seed, deadline=None, progress=None, **options) ->
SearchResult``: one supernet is trained, and what it finds is trained from scratch.
"""

from __future__ import annotations

from autokit.nas.oneshot.bilevel import BilevelSettings
from autokit.nas.oneshot.darts import darts
from autokit.nas.oneshot.enas import ControllerSettings, enas
from autokit.nas.oneshot.history import SupernetHistory
from autokit.nas.oneshot.single_path import WeightSettings
from autokit.nas.oneshot.supernet import Supernet

ONESHOT = {"darts": darts, "enas": enas}

__all__ = [
    "ONESHOT",
    "BilevelSettings",
    "ControllerSettings",
    "Supernet",
    "SupernetHistory",
    "WeightSettings",
    "darts",
    "enas",
]
