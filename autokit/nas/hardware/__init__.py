"""What architectures cost on the machines they are made for, and the limits set on that.

Names are loaded when first used: constraints, spaces and predictors need neither TensorFlow nor
Keras.
"""

from __future__ import annotations

from autokit.names import lazy

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

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
