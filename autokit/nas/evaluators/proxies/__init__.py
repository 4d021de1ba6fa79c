"""Zero-cost proxies: what an untrained network says of the trained one, by name.

A proxy is a function ``(model, batch, loss) -> float``, higher is better, of a model that answers
logits (or numbers), a batch of encoded rows and a Keras loss that takes them. It leaves the model
as it was. It is not compiled: tracing a network costs more than one batch of it.
"""

from __future__ import annotations

from autokit.nas.evaluators.proxies.counts import flops, n_params
from autokit.nas.evaluators.proxies.grad_norm import grad_norm
from autokit.nas.evaluators.proxies.jacob_cov import jacob_cov
from autokit.nas.evaluators.proxies.naswot import naswot
from autokit.nas.evaluators.proxies.ntk import ntk
from autokit.nas.evaluators.proxies.snip import snip
from autokit.nas.evaluators.proxies.synflow import synflow

PROXIES = {
    "flops": flops,
    "grad_norm": grad_norm,
    "jacob_cov": jacob_cov,
    "n_params": n_params,
    "naswot": naswot,
    "ntk": ntk,
    "snip": snip,
    "synflow": synflow,
}

__all__ = ["PROXIES", *PROXIES]
