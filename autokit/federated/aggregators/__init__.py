"""Aggregators: how the updates of a round become one."""

from __future__ import annotations

from autokit.federated.aggregators.krum import Krum, MultiKrum
from autokit.federated.aggregators.mean import Mean
from autokit.federated.aggregators.median import Median
from autokit.federated.aggregators.norm_clipping import NormClipping
from autokit.federated.aggregators.trimmed_mean import TrimmedMean

AGGREGATORS = {
    "mean": Mean,
    "median": Median,
    "trimmed_mean": TrimmedMean,
    "krum": Krum,
    "multi_krum": MultiKrum,
    "norm_clipping": NormClipping,
}
