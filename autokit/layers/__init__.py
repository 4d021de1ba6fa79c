"""Networks and layers: plain builders of Keras models, and the layers that Keras lacks."""

from __future__ import annotations

from autokit.layers.networks import cnn, mlp, sequence

__all__ = ["cnn", "mlp", "sequence"]
