"""The arithmetic of latency predictors: pairs of functions ``learn`` and ``answer`` on arrays."""

from __future__ import annotations

from autokit.nas.hardware.regression import gaussian_process, lookup_table
from autokit.nas.hardware.regression.features import Features

__all__ = ["Features", "gaussian_process", "lookup_table"]
