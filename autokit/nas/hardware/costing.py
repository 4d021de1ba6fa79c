"""What the candidates of one search cost: counted, predicted or measured, and each only once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from autokit.nas.hardware.constraints import Costs, HardwareConstraints
from autokit.nas.hardware.estimates import CountEstimate
from autokit.nas.hardware.feasible import FeasibleSpace

COUNTED = ("n_params", "flops", "memory_bytes")


@dataclass
class Costing:
    """The costs of the architectures of a space, for one kind of rows.

    Parameters
    ----------
    space : SearchSpace
    input_shape : tuple of int
        Of one encoded row.
    n_outputs : int
    output_activation : str
    constraints : HardwareConstraints, optional
        By default nothing is limited.
    objectives : tuple of str, default=()
        Costs that are wanted besides those that are limited.
    quantization : str or None, default=None
        Of the files that are measured.
    rows : array-like or None, default=None
        To calibrate such files with.
    deployed : callable or None, default=None
        From a network to what is exported, for example an estimator with its encoder; by default
        the network itself.

    Raises
    ------
    ValueError
        A limit or an objective is wrong, or the predictor is another space's.
    """

    space: Any
    input_shape: tuple[int, ...]
    n_outputs: int
    output_activation: str = "softmax"
    constraints: HardwareConstraints = field(default_factory=HardwareConstraints)
    objectives: tuple[str, ...] = ()
    quantization: str | None = None
    rows: Any = None
    deployed: Callable[[Any], Any] | None = None

    def __post_init__(self):
        if isinstance(self.space, FeasibleSpace):
            self.space = self.space.space
        self.constraints.check()
        self._needs = {*self.constraints.needs, *self.objectives} - {"score"}
        self._counted: dict[Any, Costs] = {}
        self._estimate = CountEstimate(self.space, self.constraints.limits(COUNTED))
        self._measured: dict[Any, Any] = {}
        self._predicted: dict[Any, float] = {}
        if self.is_predicted:
            self.constraints.device.check(self.space, self.input_shape)

    @property
    def is_predicted(self) -> bool:
        """Whether latency comes from a predictor."""
        return hasattr(self.constraints.device, "predict")

    @property
    def margin_ms(self) -> float:
        """What is added to a predicted latency, if nothing measures the final network."""
        device = self.constraints.device
        if not self.is_predicted or getattr(device, "measure", None) is not None:
            return 0.0
        return device.error_.margin_ms

    @property
    def counts(self) -> bool:
        """Whether a network must be built to know what is limited or wanted."""
        return bool(self._needs.intersection(COUNTED))

    @property
    def predicts(self) -> bool:
        """Whether latency is limited or wanted, and predicted."""
        return "latency_ms" in self._needs and self.is_predicted

    @property
    def measures(self) -> bool:
        """Whether a file must be made to know what is limited or wanted."""
        return "size_bytes" in self._needs or self._times

    @property
    def _times(self) -> bool:
        return "latency_ms" in self._needs and not self.is_predicted

    def cheap(self, architecture: Any) -> Costs:
        """What is known without a file: counts, and latency if it is predicted."""
        costs = self.counted(architecture) if self.counts else Costs()
        return costs._replace(latency_ms=self._latency(architecture))

    def cheap_violation(self, architecture: Any) -> float:
        """How far what is cheaply known is beyond the limits, margin included.

        Networks are built until there are enough of them to tell others' counts from; from then
        on only where that leaves a doubt.
        """
        predicted = self.violation(Costs(latency_ms=self._latency(architecture)))
        if not self._limits_counts:
            return predicted
        counted = self._counted.get(architecture)
        estimate = self._estimate.violation(architecture) if counted is None else None
        if estimate is None:
            estimate = self.constraints.violation(counted or self.counted(architecture))
        return predicted + estimate

    def explain_cheap(self, architecture: Any) -> str:
        """The limits that `cheap_violation` speaks of, in words."""
        return self.explain(self.cheap(architecture))

    def violation(self, costs: Costs) -> float:
        """How far costs are beyond the limits; a predicted latency has its margin on top."""
        return self.constraints.violation(self._with_margin(costs))

    def explain(self, costs: Costs) -> str:
        """The limits that costs exceed, in words."""
        return self.constraints.explain(self._with_margin(costs))

    def full(self, architecture: Any) -> Costs:
        """All that is limited or wanted; what must be measured only if the rest is within limits.

        Raises
        ------
        autokit.deploy.ExportError
            The file cannot be made.
        """
        costs = self.cheap(architecture)
        if not self.measures or self.violation(costs) > 0:
            return costs
        if architecture not in self._measured:
            self._measured[architecture] = self._measure(architecture)
        found = self._measured[architecture]
        costs = costs._replace(size_bytes=found.size_bytes)
        return costs._replace(latency_ms=found.latency_ms) if self._times else costs

    def counted(self, architecture: Any) -> Costs:
        """Parameters, operations and activation memory, by building the network."""
        if architecture not in self._counted:
            self._counted[architecture] = count(self.build(architecture))
            if self._limits_counts:
                self._estimate.add(architecture, self._counted[architecture])
        return self._counted[architecture]

    def feasible_space(self) -> Any:
        """The space without what is cheaply known to be beyond the limits."""
        if self._limits_counts or (self.predicts and self.constraints.max_latency_ms is not None):
            return FeasibleSpace(self.space, self.cheap_violation)
        return self.space

    @property
    def _limits_counts(self) -> bool:
        return bool(self.constraints.limits(COUNTED))

    def _latency(self, architecture: Any) -> float | None:
        if not self.predicts:
            return None
        if architecture not in self._predicted:
            predicted = self.constraints.device.predict([architecture])
            self._predicted[architecture] = float(predicted[0])
        return self._predicted[architecture]

    def _with_margin(self, costs: Costs) -> Costs:
        if costs.latency_ms is None:
            return costs
        return costs._replace(latency_ms=costs.latency_ms + self.margin_ms)

    def build(self, architecture: Any) -> Any:
        """The untrained network of an architecture."""
        from autokit.training import seeded

        with seeded(0):
            return self.space.build(
                architecture, self.input_shape, self.n_outputs, self.output_activation
            )

    def _measure(self, architecture):
        from autokit.nas.hardware.latency import measure_candidate

        device, model = self.constraints.device, self.build(architecture)
        return measure_candidate(
            model if self.deployed is None else self.deployed(model),
            quantization=self.quantization,
            rows=self.rows,
            device=None if device == "host" or self.is_predicted else device,
            with_latency=self._times,
        )


def count(model: Any) -> Costs:
    """Count what a built network costs; activation memory is None where its graph is not known.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    Costs
    """
    from autokit.nas.hardware.costs import count_flops, peak_activation_bytes

    try:
        memory = peak_activation_bytes(model)
    except ValueError:  # a model of the user's own, without a graph of layers
        memory = None
    return Costs(int(model.count_params()), count_flops(model), memory)
