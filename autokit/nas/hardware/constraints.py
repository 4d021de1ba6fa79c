"""Limits on what an architecture may cost."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple


class Infeasible(ValueError):
    """No architecture was found that keeps the constraints."""


class Costs(NamedTuple):
    """What one architecture costs; None where it is not known.

    Attributes
    ----------
    n_params : int or None
        Weights of the model.
    flops : int or None
        Floating-point operations of one row.
    memory_bytes : int or None
        Peak of the activations of one row.
    size_bytes : int or None
        Of the .tflite file.
    latency_ms : float or None
        Of one row.
    """

    n_params: int | None = None
    flops: int | None = None
    memory_bytes: int | None = None
    size_bytes: int | None = None
    latency_ms: float | None = None

    def known(self) -> dict[str, float]:
        """What is known, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class _Limit(NamedTuple):
    cost: str
    words: str
    text: str


_LIMITS = {
    "max_latency_ms": _Limit("latency_ms", "latency", "{:.3g} ms"),
    "max_params": _Limit("n_params", "parameters", "{:,}"),
    "max_flops": _Limit("flops", "FLOPs", "{:,}"),
    "max_size_bytes": _Limit("size_bytes", "file size", "{:,} bytes"),
    "max_memory_bytes": _Limit("memory_bytes", "activation memory", "{:,} bytes"),
}


@dataclass(frozen=True)
class HardwareConstraints:
    """What the network that a search returns may cost at most.

    Parameters
    ----------
    max_latency_ms : float or None, default=None
        Of one row on `device`, one thread.
    max_params : int or None, default=None
        Weights, those that are not trained included.
    max_flops : int or None, default=None
        Floating-point operations of one row, see `count_flops`.
    max_size_bytes : int or None, default=None
        Of the .tflite file, metadata included.
    max_memory_bytes : int or None, default=None
        Peak of the float32 activations of one row, see `peak_activation_bytes`.
    device : "host", LatencyPredictor or callable, default="host"
        Where `max_latency_ms` holds. "host" times each candidate's .tflite file in LiteRT on this
        machine. A function ``(path) -> ms`` times the file wherever it likes, for example on a
        phone over a cable. A `LatencyPredictor` answers without a file; the final network is
        then timed by the predictor's function ``measure(path) -> ms``, and without one must keep
        the limit with the predictor's error on top.

    Examples
    --------
    >>> limits = HardwareConstraints(max_params=1000, max_latency_ms=2.5)
    >>> limits.violation(Costs(n_params=1250, latency_ms=2.0))
    0.25
    >>> limits.explain(Costs(n_params=900, latency_ms=3.2))
    'latency 3.2 ms is 28 % over 2.5 ms'
    """

    max_latency_ms: float | None = None
    max_params: int | None = None
    max_flops: int | None = None
    max_size_bytes: int | None = None
    max_memory_bytes: int | None = None
    device: Any = "host"

    def check(self) -> None:
        """Refuse what is no limit.

        Raises
        ------
        ValueError
            A limit is no positive number, or `device` is none of what it may be.
        """
        for name in _LIMITS:
            value = getattr(self, name)
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            if value is not None and not (is_number and 0 < value < float("inf")):
                raise ValueError(
                    f"{name} of HardwareConstraints must be a positive number or None; got "
                    f"{value!r}."
                )
        device = self.device
        if device != "host" and not hasattr(device, "predict") and not callable(device):
            raise ValueError(
                "device of HardwareConstraints must be 'host', a LatencyPredictor or a function "
                f"(path) -> milliseconds; got {device!r}."
            )

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the costs that are limited, as fields of `Costs`."""
        return tuple(self.limits())

    def violation(self, costs: Any) -> float:
        """How far some costs are beyond the limits.

        Parameters
        ----------
        costs : Costs or Evaluation
            What is None counts nothing.

        Returns
        -------
        float
            ``sum_i max(0, cost_i / limit_i - 1)`` over the limits; 0 if all hold.
        """
        return float(sum(excess for _, excess in self._excesses(costs)))

    def explain(self, costs: Any) -> str:
        """Say which limits are exceeded and by how much; empty if all hold."""
        parts = []
        for name, excess in self._excesses(costs):
            if excess > 0:
                field, words, text = _LIMITS[name]
                cost, limit = getattr(costs, field), getattr(self, name)
                share = f"{100 * excess:.0f} %" if excess >= 0.01 else "less than 1 %"
                parts.append(f"{words} {text.format(cost)} is {share} over {text.format(limit)}")
        return ", ".join(parts)

    def unknown(self, costs: Any) -> tuple[str, ...]:
        """Names of the limited costs that are not known."""
        return tuple(cost for cost in self.needs if getattr(costs, cost) is None)

    def limits(self, costs: tuple[str, ...] = Costs._fields) -> dict[str, float]:
        """The limits that are set, of some costs, by the name of the cost."""
        limits = {_LIMITS[name].cost: getattr(self, name) for name in _LIMITS}
        return {c: limit for c, limit in limits.items() if limit is not None and c in costs}

    def _excesses(self, costs) -> list[tuple[str, float]]:
        found = []
        for name, (cost, *_) in _LIMITS.items():
            value, limit = getattr(costs, cost), getattr(self, name)
            if value is not None and limit is not None:
                found.append((name, max(0.0, value / limit - 1.0)))
        return found


COSTS = Costs._fields
OBJECTIVES = ("score", *COSTS)
_SHORT = {"params": "n_params"}


def check_objectives(objectives) -> tuple[str, ...]:
    """The objectives by the names of an evaluation's fields.

    Parameters
    ----------
    objectives : sequence of str
        Of "score", "latency_ms", "n_params" (or "params"), "flops", "size_bytes" and
        "memory_bytes".

    Raises
    ------
    ValueError
        If one is unknown, or given twice, or there is none.
    """
    names = (objectives,) if isinstance(objectives, str) else tuple(objectives)
    for name in names:
        if _SHORT.get(name, name) not in OBJECTIVES:
            known = ", ".join(map(repr, OBJECTIVES))
            raise ValueError(f"objectives must be of {known}; got {name!r}.")
    named = tuple(_SHORT.get(name, name) for name in names)
    if not named or len(set(named)) < len(named):
        raise ValueError(f"objectives must be at least one, and each once; got {names}.")
    return named


def objective_values(evaluation: Any, objectives) -> tuple[float, ...]:
    """The objectives of an evaluation, each turned so that higher is better.

    Returns
    -------
    tuple of float
        Empty if one of them is not known.
    """
    found = [(name, getattr(evaluation, name)) for name in check_objectives(objectives)]
    if any(value is None for _, value in found):
        return ()
    return tuple(float(v) if name == "score" else -float(v) for name, v in found)
