"""Where rounds run."""

from __future__ import annotations

from autokit.names import lazy

_PUBLIC = {
    "EmbeddedEngine": "embedded",
    "FlowerEngine": "flower",
    "TFFEngine": "tff",
}

__all__ = list(_PUBLIC)

__getattr__, __dir__ = lazy(__name__, _PUBLIC)

ENGINES = {"embedded": "EmbeddedEngine", "tff": "TFFEngine", "flower": "FlowerEngine"}
