"""The engine `tff`: rounds in TensorFlow Federated, behind the boundary of a process."""

from __future__ import annotations

from autokit.names import lazy

_PUBLIC = {
    "EngineDied": "process",
    "InstallFailed": "environment",
    "NotInstalled": "environment",
    "TFFEngine": "engine",
    "TFFRun": "engine",
    "check": "checking",
    "install": "environment",
}

__all__ = list(_PUBLIC)

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
