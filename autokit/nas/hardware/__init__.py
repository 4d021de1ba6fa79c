"""What architectures cost on the machines they are made for, and the limits set on that.

Names are loaded when first used: constraints, spaces and predictors need neither TensorFlow nor
Keras.
"""

from __future__ import annotations

import importlib

_PUBLIC = {
    "Certificate": "certificates",
    "Costs": "constraints",
    "FeasibleSpace": "feasible",
    "GaussianProcessPredictor": "predictors",
    "HardwareAware": "evaluator",
    "HardwareConstraints": "constraints",
    "Infeasible": "constraints",
    "LatencyPredictor": "predictors",
    "LookupTablePredictor": "predictors",
    "certify": "certificates",
    "check_feasible": "feasible",
    "count_flops": "costs",
    "count_macs": "costs",
    "load_predictor": "predictors",
    "peak_activation_bytes": "costs",
    "read_latencies": "latency_table",
    "record_latencies": "latency_table",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'autokit.nas.hardware' has no attribute {name!r}")
    module = importlib.import_module(f"autokit.nas.hardware.{_PUBLIC[name]}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
