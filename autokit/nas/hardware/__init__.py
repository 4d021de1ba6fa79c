"""What architectures cost on the machines they are made for."""

from __future__ import annotations

from autokit.nas.hardware.costs import count_flops, count_macs, peak_activation_bytes

__all__ = ["count_flops", "count_macs", "peak_activation_bytes"]
