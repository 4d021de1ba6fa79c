"""A federation in plain values, as TensorFlow Federated is told of it, and what it cannot do."""

from __future__ import annotations

from typing import Any

from autokit.federated.protocols import FederatedAlgorithm, Federation

_INSTEAD = "engine='embedded' can"


def algorithm_spec(federation: Federation) -> dict[str, Any]:
    """What clients and server do.

    Raises
    ------
    ValueError
        TensorFlow Federated cannot; names the argument, and the engine that can.
    """
    algorithm, step = federation.algorithm, federation.step
    name = type(algorithm).__name__
    if algorithm.has_variates:
        raise _refusal("algorithm", algorithm, "has no control variates")
    proximal = 0.0
    if name == "FedProx":
        proximal = float(algorithm.mu)
    elif type(algorithm).objective is not FederatedAlgorithm.objective:
        raise _refusal("algorithm", algorithm, "does not know its objective")
    if federation.batch_norm != "average":
        raise _refusal("batch_norm", federation.batch_norm, "leaves nothing with the clients")
    return {
        "learning_rate": float(federation.learning_rate),
        "proximal": proximal,
        "rule": step.rule,
        "settings": {
            name: value if isinstance(value, bool) else float(value)
            for name, value in step.settings
        },
        # private updates count alike
        "weighted": bool(algorithm.weighted) and federation.privacy is None,
    }


def aggregator_spec(
    federation: Federation, *, clipping: bool = False, zeroing: bool | float = False
) -> dict[str, Any]:
    """How updates become one: TFF's name for it and its numbers.

    Parameters
    ----------
    federation : Federation
    clipping, zeroing : bool, bool or float
        As of `TFFEngine`.

    Raises
    ------
    ValueError
        TensorFlow Federated cannot; names the argument, and the engine that can.
    """
    if federation.privacy is not None:
        return _private(federation, clipping or zeroing)
    spec: dict[str, Any] = {"kind": "mean"}
    aggregator, communication = federation.aggregator, federation.communication
    kind = type(aggregator).__name__
    if kind == "NormClipping":
        if aggregator.norm == "median":
            raise _refusal(
                "aggregator", aggregator, "clips to a number, or with TFFEngine(clipping=True)"
            )
        if aggregator.inner is not None and type(aggregator.inner).__name__ != "Mean":
            raise _refusal("aggregator", aggregator, "takes the mean of clipped updates")
        spec["clip_norm"] = float(aggregator.norm)
    elif kind != "Mean":
        raise _refusal("aggregator", aggregator, "has the mean only, clipped or zeroed")
    if communication is not None:
        if type(communication).__name__ != "QuantizedUpdates":
            raise _refusal("communication", communication, "has quantised updates only")
        if communication.error_feedback:
            raise _refusal(
                "communication", communication, "has no error feedback: error_feedback=False"
            )
        spec["bits"] = int(communication.bits)
    if clipping:
        spec["clipping"] = True
        spec["kind"] += "+clipping"
    if zeroing:
        spec |= {"zeroing": True} if zeroing is True else {"zero_norm": float(zeroing)}
        spec["kind"] += "+zeroing"
    return spec


def _private(federation: Federation, robust: Any) -> dict[str, Any]:
    plan = federation.privacy
    if getattr(plan, "level", "client") != "client":
        raise _refusal("privacy", plan, "noises updates of whole clients: level='client'")
    if type(federation.aggregator).__name__ != "Mean":
        raise _refusal("aggregator", federation.aggregator, "takes the mean of private updates")
    if federation.communication is not None:
        raise _refusal("communication", federation.communication, "sends private updates whole")
    if len(federation.layout.shapes) > federation.layout.n_trainable:
        raise ValueError(
            "The 'privacy' parameter is set and the network has statistics of its rows, of batch "
            "or other normalisation, which TensorFlow Federated would noise; use "
            "keras.layers.GroupNormalization, or engine='embedded'."
        )
    if robust:
        raise ValueError(
            "The 'privacy' parameter is set: its clipping goes without TFFEngine's own 'clipping' "
            "and 'zeroing'; leave them out."
        )
    spec = {
        "noise_multiplier": float(plan.noise_multiplier),
        "clients_per_round": float(plan.clients_per_round),
    }
    if plan.clip_norm == "adaptive":
        return {"kind": "gaussian_adaptive", **spec}
    return {"kind": "gaussian_fixed", "clip_norm": float(plan.clip_norm), **spec}


def update_bytes(federation: Federation, spec: dict[str, Any]) -> int:
    """Bytes that a client sends."""
    if not spec.get("bits"):
        return 4 * federation.layout.size
    # TFF packs as many codes as fit into 28 bits of every int32, and sends minimum and maximum
    per_word = 28 // spec["bits"]
    return sum(4 * -(-size // per_word) + 8 for size in federation.layout.sizes)


def _refusal(argument: str, value: Any, why: str) -> ValueError:
    return ValueError(
        f"The {argument!r} parameter is {value!r}, which engine='tff' cannot run: TensorFlow "
        f"Federated {why}; {_INSTEAD}."
    )
