"""Rounds on Flower's SuperLink and SuperNodes: on this machine, or on several.

Names are loaded when first used; Flower itself when a training begins.
"""

from __future__ import annotations

from autokit.names import lazy

_PUBLIC = {
    "Credentials": "certificates",
    "FlowerEngine": "engine",
    "join": "joining",
    "make_certificates": "certificates",
    "serve": "serving",
}

__all__ = list(_PUBLIC)

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
