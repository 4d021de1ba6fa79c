"""Fitted estimators and Keras models as proven .tflite files.

Names load lazily, so that :class:`TFLiteModel` works where TensorFlow is not installed.
"""

from __future__ import annotations

import importlib

_PUBLIC = {
    "ExportComparison": "compare",
    "ExportError": "proof",
    "ExportReport": "export",
    "ExportRow": "compare",
    "FormatReport": "formats",
    "LatencyReport": "latency",
    "Spread": "latency",
    "TFLiteModel": "runtime",
    "Tolerance": "proof",
    "benchmark": "latency",
    "compare_exports": "compare",
    "export_keras": "formats",
    "export_onnx": "formats",
    "export_saved_model": "formats",
    "export_tflite": "export",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'autokit.deploy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"autokit.deploy.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
