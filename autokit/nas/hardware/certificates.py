"""The proof that a final network keeps its constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from autokit.nas.hardware.constraints import Costs, HardwareConstraints, Infeasible
from autokit.nas.protocols import Evaluation


@dataclass(frozen=True)
class Certificate:
    """What a network was found to cost.

    Attributes
    ----------
    holds : bool
        Whether it keeps every limit.
    costs : Costs
        What was counted and measured. A latency that could only be predicted is the prediction
        with its margin.
    is_measured : bool
        Whether the latency was measured, on this machine or on the device.
    text : str
        Which limits are exceeded and by how much; empty if it holds.
    violation : float
        See `HardwareConstraints.violation`.
    """

    holds: bool
    costs: Costs
    is_measured: bool
    text: str
    violation: float


def certify(
    model_or_estimator: Any,
    constraints: HardwareConstraints,
    *,
    architecture: Any = None,
    quantization: str | None = None,
    representative_data: Any = None,
) -> Certificate:
    """Measure a network for real, against constraints.

    Parameters, FLOPs and activation memory are counted on the network, the size is that of its
    .tflite file with metadata, and latency is timed on that file: on this machine for
    ``device="host"``, by the device's function otherwise. Only where the device is a predictor
    without the function ``measure`` can nobody time it; then the prediction plus the predictor's
    own ``error_.margin_ms``, which 19 of 20 measurements kept, must be within the limit.

    Parameters
    ----------
    model_or_estimator : keras.Model or fitted estimator
    constraints : HardwareConstraints
    architecture : hashable, default=None
        Which one it is; needed by a predictor.
    quantization : str or None, default=None
        Of the file, see `autokit.deploy.export_tflite`.
    representative_data : array-like or None, default=None
        To calibrate the file with, where the quantisation needs that.

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        A limit is wrong, or something that is limited cannot be known of this network.
    """
    from autokit.nas.hardware.costing import count

    constraints.check()
    device, needs = constraints.device, constraints.needs
    is_predictor = hasattr(device, "predict")
    timer = getattr(device, "measure", None) if is_predictor else device
    is_timed = "latency_ms" in needs and timer is not None
    costs = count(getattr(model_or_estimator, "model_", model_or_estimator))
    if is_timed or "size_bytes" in needs:
        from autokit.nas.hardware.latency import measure_candidate

        size, latency = measure_candidate(
            model_or_estimator,
            quantization=quantization,
            rows=representative_data,
            device=None if timer == "host" else timer,
            with_latency=is_timed,
        )
        costs = costs._replace(size_bytes=size, latency_ms=latency)
    if "latency_ms" in needs and not is_timed:
        predicted = float(device.predict([architecture])[0])
        costs = costs._replace(latency_ms=predicted + device.error_.margin_ms)
    unknown = constraints.unknown(costs)
    if unknown:
        raise ValueError(
            f"constraints limit {', '.join(unknown)}, which is not known of this network; leave "
            "that limit out, or build the network of layers with the functional API."
        )
    violation = constraints.violation(costs)
    return Certificate(violation == 0, costs, is_timed, constraints.explain(costs), violation)


def first_certified(
    evaluations: Iterable[Evaluation],
    build: Callable[[Evaluation], Any],
    train: Callable[[Evaluation], Any],
    certificate_of: Callable[[Evaluation, Any], Certificate],
) -> tuple[Evaluation, Any, Certificate]:
    """Walk down a ranking to the first network that keeps the constraints when it is measured.

    A network costs the same before it is trained: what fails then is not trained at all. What
    is returned was measured once more after its training.

    Parameters
    ----------
    evaluations : iterable of Evaluation
        Best first, see `SearchResult.ranking`.
    build, train : callable
        From an evaluation to its untrained and its trained network.
    certificate_of : callable
        From an evaluation and its network to the `Certificate`.

    Returns
    -------
    (Evaluation, network, Certificate)

    Raises
    ------
    Infeasible
        None does; the message tells by how much the nearest misses.
    """
    missed: list[tuple[float, int, Evaluation, str]] = []
    for number, evaluation in enumerate(evaluations):
        certificate = certificate_of(evaluation, build(evaluation))
        if certificate.holds:
            network = train(evaluation)
            certificate = certificate_of(evaluation, network)
            if certificate.holds:
                return evaluation, network, certificate
        missed.append((certificate.violation, number, evaluation, certificate.text))
    if not missed:
        raise Infeasible("constraints: there is no feasible evaluation to choose from.")
    _, _, nearest, text = min(missed, key=lambda miss: miss[:2])
    raise Infeasible(
        f"constraints are kept by none of the {len(missed)} candidates once they are measured: "
        f"nearest comes {nearest.architecture}, whose {text}; raise the limit, or let the search "
        "run longer."
    )


def nothing_feasible(
    evaluations: Iterable[Evaluation], constraints: HardwareConstraints
) -> Infeasible:
    """The error of a search in which every candidate was beyond a limit.

    Parameters
    ----------
    evaluations : iterable of Evaluation
        At least one with a violation.
    constraints : HardwareConstraints

    Returns
    -------
    Infeasible
        To be raised; tells by how much the nearest missed.
    """
    missed = [e for e in evaluations if e.violation > 0]
    nearest = min(missed, key=lambda e: (e.violation, e.number))
    text = constraints.explain(nearest) or nearest.error
    return Infeasible(
        f"constraints were kept by none of {len(missed)} architectures that were looked at: "
        f"nearest came {nearest.architecture}, whose {text}; raise the limit, or let the search "
        "run longer."
    )
