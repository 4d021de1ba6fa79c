"""What is compiled: training on tasks, answering episodes, adapting to a support set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autokit._backend import keras, tf
from autokit.meta.episodes import gathered, task_of
from autokit.meta.protocols import Layout, Learnt, MetaLearner, Networks, Task, View
from autokit.training import Regime, TensorBatch
from autokit.training.updates import adam, apply_changes


def loss_of(is_regression: bool) -> keras.losses.Loss:
    """What queries are judged by: logits of classes, or numbers."""
    if is_regression:
        return keras.losses.MeanSquaredError()
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def regime(
    method: MetaLearner, layout: Layout, transductive: bool, turns: int, fixed: dict, running: dict
) -> Regime:
    """Training on tasks, for `autokit.training.fit` over batches of places.

    Parameters
    ----------
    method : MetaLearner
    layout : Layout
    transductive : bool
    turns : int
        See `Pool`.
    fixed : dict
        ``rows`` (n_rows, ...), ``rate`` of the extras, ``numbers``; ``targets`` of a regression.
    running : dict
        ``extras`` and ``rule``, the state of their optimizer; empty where there are none.
    """

    def gradient(model, loss, scaled):
        networks = Networks(model)

        def step(params, buffers, batch, fixed, running):
            x = gathered(fixed["rows"], batch.x, turns)
            y = tf.gather(fixed["targets"], batch.x) if "targets" in fixed else None
            tasks = task_of(layout, x, y)
            if not method.episodic:  # all rows are asked
                tasks = Task(x, batch.y, x, batch.y)
            view = View(networks, loss, layout, fixed["numbers"], transductive)
            extras = list(running.get("extras", []))
            result, gradients = method.meta_gradient(view, [*params, *extras], buffers, tasks)
            own, more = gradients[: len(params)], gradients[len(params) :]
            if extras:
                changes, rule = adam(fixed["rate"]).update(more, running["rule"], extras)
                running = {"extras": apply_changes(extras, changes), "rule": rule}
            return result, own, running

        return step

    key = f"few shots {method.key()} {tuple(layout)} {transductive} {turns} {sorted(fixed)}"
    return Regime(key, gradient, fixed, running, free=("rows", "targets"))


def first_running(extras: list) -> dict:
    """What a regime's steps change, before the first."""
    if not extras:
        return {}
    state = adam(0.0).init([tf.constant(e) for e in extras])
    return {"extras": list(extras), "rule": tf.nest.map_structure(lambda t: t.numpy(), state)}


def answerer(
    method: MetaLearner, network: keras.Model, layout: Layout, transductive: bool, loss: Any
) -> tuple[View, Callable]:
    """Answers to the queries of many tasks, compiled.

    Returns
    -------
    view : View
    answers : callable
        ``(params, buffers, rows, places[, targets]) -> tf.Tensor (n_tasks, n_queries, n_outputs)``.
        `rows` are encoded rows, or embeddings where the method compares these; `targets` are
        those of a regression.
    """
    view = _view(method, network, layout, transductive, loss)

    def answers(params, buffers, rows, places, targets=None):
        def one(place):
            x = tf.gather(rows, place)[None]
            y = None if targets is None else tf.gather(targets, place)[None]
            task = tf.nest.map_structure(lambda part: part[0], task_of(layout, x, y))
            return tf.cast(method.answers(view, params, buffers, task), tf.float32)

        return tf.map_fn(one, places, fn_output_signature=tf.float32, parallel_iterations=1)

    return view, _Compiled(answers)


def adapter(learnt: Learnt, network: keras.Model, n_outputs: int) -> Callable:
    """Adaptation of a network's weights to a support set of any size, compiled once.

    Returns
    -------
    callable
        ``(params, buffers, x, y) -> (params, buffers)``, arrays in and out; extras are among the
        params that go in.
    """
    key = ("adapt", n_outputs)
    if key not in learnt.compiled:
        method = learnt.method
        loss = loss_of(learnt.is_regression)
        layout = learnt.layout._replace(n_way=n_outputs)
        view = _view(method, network, layout, learnt.transductive, loss)

        def adapt(params, buffers, x, y):
            return method.adapted_values(view, params, buffers, TensorBatch(x, y))

        learnt.compiled[key] = _Compiled(adapt)
    compiled = learnt.compiled[key]

    def run(params, buffers, x, y):
        return tf.nest.map_structure(lambda t: t.numpy(), compiled(params, buffers, x, y))

    return run


class _Compiled:
    """``function(params, buffers, *data)`` traced once, for any number of rows of data.

    Parameters
    ----------
    function : callable
    """

    def __init__(self, function: Callable):
        self._function, self._traced = function, None

    def __call__(self, params: list, buffers: list, *data):
        flat = [tf.convert_to_tensor(part) for part in (*params, *buffers, *data)]
        if self._traced is None:
            self._traced = self._trace(flat, len(params), len(params) + len(buffers))
        return self._traced(*flat)

    def _trace(self, flat, first, second):
        @tf.function(autograph=False)
        def traced(*flat):
            return self._function(list(flat[:first]), list(flat[first:second]), *flat[second:])

        shapes = [t.shape if i < second else (None, *t.shape[1:]) for i, t in enumerate(flat)]
        specs = [tf.TensorSpec(s, t.dtype) for s, t in zip(shapes, flat, strict=True)]
        return traced.get_concrete_function(*specs)


def _view(method, network, layout, transductive, loss) -> View:
    numbers = {name: tf.constant(value) for name, value in method.number_values().items()}
    return View(Networks(network), loss, layout, numbers, transductive)


def scores_of(outputs: np.ndarray, targets: np.ndarray, is_regression: bool) -> np.ndarray:
    """Accuracy, or negative mean squared error, of each task: of shape (n_tasks,).

    NaN where outputs are not finite.
    """
    if is_regression:
        errors = outputs.astype(np.float64) - targets  # whose squares float32 may not hold
        scores = -np.square(errors).reshape(len(outputs), -1).mean(axis=1)
    else:
        scores = (outputs.argmax(axis=-1) == targets).mean(axis=1)
    is_finite = np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
    return np.where(is_finite, scores, np.nan)
