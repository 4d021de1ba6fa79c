"""The baselines: how large a network is. A proxy that ranks no better says nothing new."""

from __future__ import annotations

from autokit._backend import keras
from autokit.nas.hardware.costs import count_flops
from autokit.training import Batch


def n_params(model: keras.Model, batch: Batch, loss: keras.losses.Loss) -> float:
    """Number of trainable weights."""
    return float(sum(v.value.shape.num_elements() for v in model.trainable_variables))


def flops(model: keras.Model, batch: Batch, loss: keras.losses.Loss) -> float:
    """Operations of one row, see `autokit.nas.hardware.count_flops`."""
    return float(count_flops(model))
