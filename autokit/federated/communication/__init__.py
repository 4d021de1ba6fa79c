"""How updates are packed on their way to the server."""

from __future__ import annotations

from autokit.federated.communication.quantized import QuantizedUpdates
from autokit.federated.communication.top_k import TopKUpdates

COMMUNICATIONS = {"quantized": QuantizedUpdates, "top_k": TopKUpdates}
