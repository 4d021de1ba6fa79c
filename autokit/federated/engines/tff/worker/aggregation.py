"""TFF's aggregators, from a description in plain values."""

from __future__ import annotations

from typing import Any

import tensorflow_federated as tff


def factory(spec: dict[str, Any]):
    """The aggregation factory of a spec, for updates with a weight each."""
    aggregators = tff.aggregators
    private = aggregators.DifferentiallyPrivateFactory
    if spec["kind"] == "gaussian_fixed":
        built = private.gaussian_fixed(
            spec["noise_multiplier"], spec["clients_per_round"], spec["clip_norm"]
        )
        return aggregators.as_weighted_aggregator(built)
    if spec["kind"] == "gaussian_adaptive":
        built = private.gaussian_adaptive(
            spec["noise_multiplier"],
            spec["clients_per_round"],
            **{name: spec[name] for name in spec.get("options", ())},
        )
        return aggregators.as_weighted_aggregator(built)
    built = aggregators.MeanFactory(
        aggregators.EncodedSumFactory.quantize_above_threshold(spec["bits"], threshold=0)
        if spec.get("bits")
        else None
    )
    if spec.get("clip_norm"):
        built = aggregators.clipping_factory(spec["clip_norm"], built)
    if spec.get("clipping"):
        built = aggregators.clipping_factory(_quantile(1.0, 0.8, learning_rate=0.2), built)
    if spec.get("zero_norm"):
        built = aggregators.zeroing_factory(spec["zero_norm"], built)
    if spec.get("zeroing"):
        built = aggregators.zeroing_factory(
            _quantile(10.0, 0.98, learning_rate=2.302585, multiplier=2.0, increment=1.0), built
        )
    return built


def _quantile(initial: float, target: float, **options: float):
    """As `tff.learning.robust_aggregator` has it."""
    return tff.aggregators.PrivateQuantileEstimationProcess.no_noise(
        initial_estimate=initial, target_quantile=target, **options
    )
