"""Fitted estimators and Keras models as proven .tflite files.

Names load lazily, so that :class:`TFLiteModel` works where TensorFlow is not installed.
"""

from __future__ import annotations

from autokit.names import lazy

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

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
