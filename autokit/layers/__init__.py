"""Networks and layers: plain builders of Keras models, and the layers that Keras lacks."""

from __future__ import annotations

from autokit.layers import fake_quant as _fake_quant  # registers its layers with Keras
from autokit.layers.copies import copied
from autokit.layers.defaults import default_model
from autokit.layers.encoders import conv4, default_encoder
from autokit.layers.networks import cnn, mlp, sequence
from autokit.layers.perceptron import Perceptron

__all__ = [
    "Perceptron", "cnn", "conv4", "copied", "default_encoder", "default_model", "mlp", "sequence",
]  # fmt: skip

del _fake_quant
