"""What is traced of a training step: the strategy's hooks around the loss of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from autokit._backend import tf
from autokit.continual.network import placed
from autokit.continual.protocols import Experience, Strategy, TracedStep
from autokit.training import Regime, TensorBatch
from autokit.training.gradients import value_and_gradient


def regime(
    experience: Experience,
    strategy: Strategy,
    heads: Any,
    known: np.ndarray,
    units: tuple[int, int],
    seed: int,
) -> Regime:
    """How the steps of an experience find their gradients.

    Parameters
    ----------
    experience : Experience
    strategy : Strategy
    heads : ClassHeads or NumberHeads
    known : np.ndarray of bool
        Units that earlier experiences had.
    units : tuple of int
        Output units in use, and of the network in training.
    seed : int
        Of the experience.
    """
    fixed, running = strategy.split(experience.state)
    memory, (n_units, n_wide) = experience.memory, units
    stored: dict[str, Any] = {}
    if strategy.uses_memory:
        # one row at least: a step draws from it before it is told that it is empty
        source = memory if len(memory) else experience.batch
        n_rows = max(1, len(memory))
        stored = {"x": source.x[:n_rows], "y": source.y[:n_rows]}
        if strategy.stores_outputs:
            outputs = memory.outputs if len(memory) else np.full((1, n_units), np.nan)
            outputs = outputs.astype(np.float32)
            wide = (len(outputs), n_wide)
            stored["outputs"] = placed(outputs, wide, np.arange(n_units), np.nan)
    return Regime(
        key=f"{type(heads).__name__}:{strategy.key()}",
        gradient=_gradient(heads, strategy),
        fixed={
            "groups": experience.groups,
            "has_memory": np.float32(bool(len(memory))),
            "known": known,
            "memory": stored,
            "n_before": np.int32(experience.number),
            "seed": np.array([seed % 2**31, 0], np.int32),
            "state": fixed,
        },
        running={"state": running, "step": np.int32(0)},
        free=("memory",),
    )


def tracer(heads: Any, strategy: Strategy):
    """A function that makes a `TracedStep` of a regime's values.

    ``(model, loss, fixed, running=None, n_rows=None) -> TracedStep``; without `n_rows` nothing is
    drawn from the memory.
    """

    def trace(model, loss, fixed, running=None, n_rows=None):
        running = {"state": {}, "step": 0} if running is None else running
        groups = fixed["groups"]
        seed = fixed["seed"] + tf.stack([0, running["step"]])
        memory = outputs = None
        if strategy.uses_memory and n_rows is not None:
            memory, outputs = _draw(fixed["memory"], seed, n_rows)

        def forward(params, buffers, x, training=False):
            return model.stateless_call(params, buffers, x, training=training)[0]

        return TracedStep(
            state=strategy.merged(fixed["state"], running["state"]),
            groups=groups,
            known=fixed["known"],
            n_before=fixed["n_before"],
            memory=memory,
            memory_outputs=outputs,
            has_memory=fixed["has_memory"],
            seed=seed + tf.constant([1, 0]),
            own=lambda other=None, training=True: heads.objective(
                model, loss, groups if other is None else other, training
            ),
            outputs=forward,
            classifies=heads.classifies,
        )

    return trace


def _gradient(heads, strategy):
    trace = tracer(heads, strategy)

    def gradient(model, loss, scaled):
        def step(params, buffers, batch, fixed, running):
            # a variable would be read again later, when the step has changed it
            params = [tf.convert_to_tensor(p) for p in params]
            buffers = [tf.convert_to_tensor(b) for b in buffers]
            traced = trace(model, loss, fixed, running, tf.shape(batch.y)[0])
            objective = strategy.objective(traced.own(), traced)
            result, gradients = value_and_gradient(scaled(objective))(params, buffers, batch)
            gradients, changed = strategy.gradients(gradients, params, buffers, batch, traced)
            return result, gradients, {"state": changed, "step": running["step"] + 1}

        return step

    return gradient


def _draw(stored, seed, n_rows):
    n_stored = tf.shape(stored["x"])[0]
    rows = tf.random.stateless_uniform([n_rows], seed, 0, n_stored, tf.int32)
    taken = {name: tf.gather(part, rows) for name, part in stored.items()}
    return TensorBatch(taken["x"], taken["y"]), taken.get("outputs")
