"""One training step of a strategy on a linear network, laid open."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from autokit._backend import keras, tf
from autokit.continual.heads import ClassHeads
from autokit.continual.protocols import TracedStep
from autokit.training import TensorBatch
from autokit.training.gradients import value_and_gradient

ROWS, FEATURES, UNITS = 12, 3, 8
ONE_HEAD = np.array([0] * 6 + [-1] * 2, np.int32)
TWO_HEADS = np.array([0] * 4 + [1] * 2 + [-1] * 2, np.int32)


@dataclass
class OpenStep:
    """A batch with classes 4 and 5, memory rows of classes 0 to 3, and padded units 6 and 7."""

    groups: np.ndarray
    n_before: int = 2
    has_memory: float = 1.0
    seed: int = 0

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.kernel, bias = rng.normal(size=(FEATURES, UNITS)), rng.normal(size=UNITS)
        self.params = [self.kernel.astype(np.float32), bias.astype(np.float32)]
        self.x, self.memory_x = rng.normal(size=(2, ROWS, FEATURES)).astype(np.float32)
        self.y = rng.integers(4, 6, ROWS).astype(np.int32)
        self.memory_y = rng.integers(0, 4, ROWS).astype(np.int32)
        stored = rng.normal(size=(ROWS, UNITS)).astype(np.float32)
        stored[:, 3:] = np.nan  # of units that came later
        self.stored = stored
        self.model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(UNITS)])
        self.batch = TensorBatch(tf.constant(self.x), tf.constant(self.y))

    def traced(self, state=None) -> TracedStep:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return TracedStep(
            state=state or {},
            groups=tf.constant(self.groups),
            known=tf.constant(np.arange(UNITS) < 4),
            n_before=tf.constant(self.n_before),
            memory=TensorBatch(tf.constant(self.memory_x), tf.constant(self.memory_y)),
            memory_outputs=tf.constant(self.stored),
            has_memory=tf.constant(self.has_memory),
            seed=tf.constant([0, 0]),
            own=lambda groups=None: ClassHeads.objective(
                self.model, loss, self.groups if groups is None else groups
            ),
            outputs=lambda p, b, x, training=False: self.model.stateless_call(p, b, x)[0],
            classifies=True,
        )

    def result(self, strategy, state=None):
        """The loss and, by the strategy's own hooks, the gradients."""
        step = self.traced(state)
        params = [tf.constant(p) for p in self.params]
        objective = strategy.objective(step.own(), step)
        new, gradients = value_and_gradient(objective)(params, [], self.batch)
        gradients, _ = strategy.gradients(gradients, params, [], self.batch, step)
        return float(new.loss), [g.numpy() for g in gradients]

    def logits(self, x, params=None):
        kernel, bias = self.params if params is None else params
        return x.astype(float) @ kernel + bias

    def cross_entropy(self, x, y, units=None, params=None):
        """The mean over rows, each over the units of its head, or over these alone."""
        logits = self.logits(x, params)
        inside = self.groups[None, :] == self.groups[y][:, None]
        if units is not None:
            inside &= np.isin(np.arange(UNITS), units)
        total = np.log(np.where(inside, np.exp(logits), 0.0).sum(axis=1))
        return float(np.mean(total - logits[np.arange(len(y)), y]))

    def batch_loss(self, units=None):
        return self.cross_entropy(self.x, self.y, units)

    def memory_loss(self, params=None):
        return self.cross_entropy(self.memory_x, self.memory_y, params=params)


@pytest.fixture(params=[ONE_HEAD, TWO_HEADS], ids=["one head", "two heads"])
def open_step(request):
    """``open_step(n_before=2, has_memory=1.0, seed=0)``."""
    return partial(OpenStep, request.param)


@pytest.fixture
def shared_step():
    """The same with all classes in one head, where batch and memory compete."""
    return partial(OpenStep, ONE_HEAD)
