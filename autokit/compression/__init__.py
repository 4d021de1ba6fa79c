"""Fitted estimators and Keras models made smaller, with the cost in accuracy told.

Every method is a class whose parameters can be searched, to be passed as an estimator's
``compression=``, and a verb of the same parameters that compresses a fitted estimator.
"""

from __future__ import annotations

from autokit.names import lazy

_PUBLIC = {
    "CompressionStep": "search",
    "TargetNotMet": "search",
    "compress": "search",
    "Cluster": "clustering",
    "OptimalBrainDamage": "brain_damage",
    "Prune": "pruning",
    "PruneLowMagnitude": "callback",
    "cluster": "clustering",
    "prune": "pruning",
    "prune_optimal_brain_damage": "brain_damage",
    "PruneBlocks": "structure",
    "prune_blocks": "structure",
    "Distill": "distillation",
    "distill": "distillation",
    "Factorize": "factorization",
    "add_lora": "lora",
    "factorize": "factorization",
    "merge_lora": "lora",
    "QuantizeAware": "quantization",
    "quantize_aware": "quantization",
    "CompressionReport": "report",
    "CompressionWarning": "method",
}

__all__ = list(_PUBLIC)

__getattr__, __dir__ = lazy(__name__, _PUBLIC)
