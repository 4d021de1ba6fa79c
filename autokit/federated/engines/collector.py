"""Local training of many clients in one compiled function.

Two forms of the same computation: `_looped` takes any network, a client and a batch after the
other in the graph; `_side_by_side` trains small dense networks of all clients at once, each step
one multiplication of stacked matrices.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autokit._backend import keras, tf
from autokit.federated.protocols import Broadcast, Federation, Updates
from autokit.federated.schedule import batches, client_seed
from autokit.federated.weights import WeightLayout, flat_layers
from autokit.training import Batch, TensorBatch, task_objective, value_and_gradient
from autokit.training.objectives import n_correct
from autokit.training.programs import architecture_key

KEPT_COLLECTORS = 4
# Beyond this many weights a client's own matrices fill the caches, and side by side is slower.
SIDE_BY_SIDE_WEIGHTS = 30_000

_ROWWISE = (
    "Activation", "Add", "Concatenate", "Dense", "ELU", "Flatten", "InputLayer", "LayerNormalization",
    "LeakyReLU", "Multiply", "Normalization", "PReLU", "ReLU", "Rescaling", "Reshape", "Softmax",
    "Subtract",
)  # fmt: skip


class Work(NamedTuple):
    """What one client has to do in a round.

    Attributes
    ----------
    client : int
    data : Batch
        All its rows.
    steps : list of np.ndarray of int
        The rows of each step.
    """

    client: int
    data: Batch
    steps: list[np.ndarray]


def work_of(federation: Federation, round_number: int, client: int, data: Batch) -> Work:
    """A client's rows and its batches of a round."""
    n_rows = len(data)
    whole = federation.algorithm.whole_batch
    steps = batches(
        federation.seed,
        round_number,
        client,
        n_rows,
        local_epochs=1 if whole else federation.local_epochs,
        batch_size=n_rows if whole else federation.batch_size,
    )
    return Work(client, data, steps)


class Collector:
    """The compiled local training of one federation's clients.

    Parameters
    ----------
    federation : Federation

    Notes
    -----
    Nothing about a round is baked in: numbers of clients, rows and steps are free, so that it is
    traced once. Federations that differ in weights, data, rates or sizes only share a trace.
    """

    def __init__(self, federation: Federation):
        self.federation = federation
        self.side_by_side = is_side_by_side(federation)
        self._traces = _traces_of(federation, self.side_by_side)

    def collect(
        self,
        broadcast: Broadcast,
        work: Sequence[Work],
        *,
        corrections: np.ndarray | None = None,
        starts: np.ndarray | None = None,
    ) -> Updates:
        """Train some clients.

        Parameters
        ----------
        broadcast : Broadcast
        work : sequence of Work
            At least one.
        corrections : np.ndarray of shape (n_clients, n_params), default=None
            What each client adds to its gradients.
        starts : np.ndarray of shape (n_clients, size), default=None
            Weights that each client starts from, where they differ.

        Returns
        -------
        Updates
        """
        rows, first = _rows_of(work)
        given = {"corrections": corrections, "starts": starts}
        given = {name: value for name, value in given.items() if value is not None}
        if self.side_by_side:
            plan = _grid(work, first)
        else:
            plan = _line(work, first, self.federation.seed, broadcast.round)
        run = self._traces.get(rows, tuple(given))
        rate = np.float32(self.federation.learning_rate)
        tensors = (*_parts(rows), broadcast.weights, rate, *plan, *given.values())
        deltas, losses, hits = run(*map(tf.convert_to_tensor, tensors))
        return Updates(
            clients=np.array([part.client for part in work]),
            deltas=deltas.numpy(),
            n_rows=np.array([len(part.data) for part in work]),
            n_steps=np.array([len(part.steps) for part in work]),
            losses=losses.numpy().astype(float),
            hits=hits.numpy().astype(float),
            n_met=np.array([sum(map(len, part.steps)) for part in work]),
        )


def is_side_by_side(federation: Federation) -> bool:
    """Whether a network's clients are trained at once: rows and clients must not mix in it."""
    model, layers = federation.model, flat_layers(federation.model)
    return (
        isinstance(model, keras.Sequential) or type(model).__name__ == "Functional"
    ) and (
        federation.layout.size <= SIDE_BY_SIDE_WEIGHTS
        and architecture_key(model) is not None
        and all(type(layer).__name__ in _ROWWISE for layer in layers)
        and all(getattr(layer, "activity_regularizer", None) is None for layer in layers)
    )


def _rows_of(work: Sequence[Work]) -> tuple[TensorBatch, np.ndarray]:
    """The rows of all clients behind each other, and where each client's begin."""
    sizes = [len(part.data) for part in work]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    weight = None
    if any(part.data.weight is not None for part in work):
        weight = _joined(
            [
                np.ones(len(p.data), np.float32) if p.data.weight is None else p.data.weight
                for p in work
            ]
        )
    x, y = (_joined([getattr(part.data, name) for part in work]) for name in ("x", "y"))
    return TensorBatch(x, y, weight), first


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _parts(rows: TensorBatch) -> list:
    return [part for part in rows if part is not None]


def _grid(work: Sequence[Work], first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of rows, (n_steps, n_clients, batch), and how many of a batch are real."""
    n_steps = max(len(part.steps) for part in work)
    sizes = np.zeros((len(work), n_steps), np.int32)
    for k, part in enumerate(work):
        sizes[k, : len(part.steps)] = [len(step) for step in part.steps]
    places = np.zeros((len(work), n_steps, sizes.max()), np.int32)
    is_real = np.arange(sizes.max()) < sizes[..., None]
    places[is_real] = np.concatenate([step for part in work for step in part.steps])
    places += first[:, None, None]
    places, sizes = places.transpose(1, 0, 2), sizes.T
    return places, sizes


def _line(work: Sequence[Work], first: np.ndarray, seed: int, round_number: int) -> tuple:
    """Places of rows behind each other, where steps end, where clients end, and their seeds."""
    order = np.concatenate([f + s for p, f in zip(work, first, strict=True) for s in p.steps])
    steps = np.cumsum([0, *(len(s) for part in work for s in part.steps)])
    ends = np.cumsum([0, *(len(part.steps) for part in work)])
    seeds = np.stack([client_seed(seed, round_number, part.client) for part in work])
    return order.astype(np.int32), steps.astype(np.int32), ends.astype(np.int32), seeds


class _Traces:
    """The compiled functions of one architecture, algorithm and loss."""

    def __init__(self, federation: Federation, side_by_side: bool, own_copy: bool):
        model = federation.model
        if own_copy:
            model = model.__class__.from_config(model.get_config())
        make, self._plan = (_grid_run, _GRID) if side_by_side else (_line_run, _LINE)
        self._make = lambda names: make(
            model, federation.loss, federation.algorithm, federation.layout, names
        )
        layout = federation.layout
        self._weights = tf.TensorSpec((layout.size,), tf.float32)
        self._given = {
            "corrections": tf.TensorSpec((None, layout.n_params), tf.float32),
            "starts": tf.TensorSpec((None, layout.size), tf.float32),
        }
        self._concrete: dict = {}
        self._lock = threading.Lock()

    def get(self, rows: TensorBatch, names: tuple[str, ...]):
        """The function for rows of this kind; traced once."""
        specs = [tf.TensorSpec((None, *p.shape[1:]), p.dtype) for p in _parts(rows)]
        key = (*((s.dtype, tuple(s.shape)) for s in specs), names)
        with self._lock:
            if key not in self._concrete:
                rate = tf.TensorSpec((), tf.float32)
                given = [self._given[name] for name in names]
                function = tf.function(_with_rows(self._make(names), len(specs)), autograph=False)
                self._concrete[key] = function.get_concrete_function(
                    *specs, self._weights, rate, *self._plan, *given
                )
            return self._concrete[key]


def _with_rows(run, n_parts: int):
    def function(*tensors):
        rows = TensorBatch(*tensors[:n_parts])
        return run(rows, *tensors[n_parts:])

    return function


_GRID = (tf.TensorSpec((None, None, None), tf.int32), tf.TensorSpec((None, None), tf.int32))
_LINE = (*(tf.TensorSpec((None,), tf.int32) for _ in range(3)), tf.TensorSpec((None, 2), tf.uint32))

_kept: OrderedDict[str, _Traces] = OrderedDict()
_kept_lock = threading.Lock()


def _traces_of(federation: Federation, side_by_side: bool) -> _Traces:
    """Those of an equal federation, if there was one."""
    architecture = architecture_key(federation.model)
    loss, algorithm = federation.loss, federation.algorithm
    if architecture is None or hasattr(loss, "function"):
        return _Traces(federation, side_by_side, own_copy=False)
    parts = (type(algorithm), algorithm.get_params(), type(loss), loss.get_config(), side_by_side)
    key = architecture + repr(parts)
    with _kept_lock:
        if key not in _kept:
            _kept[key] = _Traces(federation, side_by_side, own_copy=True)
        _kept.move_to_end(key)
        while len(_kept) > KEPT_COLLECTORS:
            _kept.popitem(last=False)
        return _kept[key]


def _gradient_of(model, loss, algorithm):
    """``(params, buffers, batch, anchor) -> (Step, gradients)``."""
    own = task_objective(model, loss)

    def gradient(params, buffers, batch, anchor):
        return value_and_gradient(algorithm.objective(own, anchor))(params, buffers, batch)

    return gradient


def _line_run(model, loss, algorithm, layout: WeightLayout, names):
    """Any network: one client after the other, one batch after the other."""
    gradient = _gradient_of(model, loss, algorithm)
    buffers_of = _Buffers(model, layout)

    def run(rows, weights, rate, order, steps, ends, seeds, *given):
        given = dict(zip(names, given, strict=True))
        n_clients = tf.shape(seeds)[0]
        results = [tf.TensorArray(tf.float32, size=n_clients) for _ in range(3)]

        def client(k, *results):
            start = given["starts"][k] if "starts" in given else weights
            anchor, statistics = layout.split(start)
            pull = layout.split_params(given["corrections"][k]) if "corrections" in given else None

            def step(i, params, buffers, losses, hits):
                chosen = order[steps[i] : steps[i + 1]]
                batch = TensorBatch(*(tf.gather(part, chosen) for part in _parts(rows)))
                result, gradients = gradient(params, buffers, batch, anchor)
                if pull is not None:
                    gradients = [g + c for g, c in zip(gradients, pull, strict=True)]
                params = [p - rate * g for p, g in zip(params, gradients, strict=True)]
                count = tf.cast(tf.shape(chosen)[0], tf.float32)
                losses += tf.cast(result.loss, tf.float32) * count
                return (
                    i + 1, params, result.buffers, losses,
                    hits + n_correct(loss, batch.y, result.outputs),
                )  # fmt: skip

            # every step needs the weights of the one before: nothing can run ahead
            _, params, buffers, losses, hits = tf.while_loop(
                lambda i, *_: i < ends[k + 1],
                step,
                (ends[k], anchor, buffers_of(statistics, seeds[k]), 0.0, 0.0),
                parallel_iterations=1,
            )
            delta = layout.join(params, buffers_of.statistics(buffers)) - start
            values = (delta, losses, hits)
            return k + 1, *(r.write(k, v) for r, v in zip(results, values, strict=True))

        # one at a time: a client's activations are what fits into the cache
        _, *results = tf.while_loop(
            lambda k, *_: k < n_clients, client, (0, *results), parallel_iterations=1
        )
        return [result.stack() for result in results]

    return run


def _grid_run(model, loss, algorithm, layout: WeightLayout, names):
    """A dense network of which rows do not depend on each other: all clients at once, masked."""
    gradient = _gradient_of(model, loss, algorithm)
    buffers_of = _Buffers(model, layout)

    def run(rows, weights, rate, places, sizes, *given):
        given = dict(zip(names, given, strict=True))
        n_clients, width = tf.shape(places)[1], tf.shape(places)[2]
        start = given["starts"] if "starts" in given else tf.tile(weights[None], [n_clients, 1])
        anchor, statistics = layout.split(start)
        has_pull = "corrections" in given
        pull = layout.split_params(given["corrections"]) if has_pull else []
        counts = tf.cast(sizes, tf.float32)

        def of_client(args):
            params, anchor, statistics, batch, pull, count, pace, mask = args
            buffers = buffers_of(list(statistics), tf.zeros(2, tf.uint32))
            batch = TensorBatch(*batch)
            result, gradients = gradient(list(params), buffers, batch, list(anchor))
            if has_pull:
                gradients = [g + c for g, c in zip(gradients, pull, strict=True)]
            params = [p - pace * g for p, g in zip(params, gradients, strict=True)]
            hits = n_correct(loss, batch.y, result.outputs, mask)
            return params, tf.cast(result.loss, tf.float32) * count, hits

        def step(t, params, losses, hits):
            place, count = places[t], counts[t]
            mask = tf.sequence_mask(sizes[t], width, tf.float32)
            # Keras divides by the rows of a batch, the absent ones too: weights make up for it
            share = mask * (tf.cast(width, tf.float32) / tf.maximum(count, 1.0))[:, None]
            batch = [tf.gather(part, place) for part in _parts(rows)]
            batch = (*batch[:2], share * batch[2] if len(batch) > 2 else share)
            pace = tf.where(count > 0, rate, 0.0)  # who has done all its steps stands still
            nest = (params, anchor, statistics, batch, pull, count, pace, mask)
            nest = tuple(tuple(part) if isinstance(part, list) else part for part in nest)
            params, loss_sum, hit_sum = tf.vectorized_map(of_client, nest)
            return t + 1, list(params), losses + loss_sum, hits + hit_sum

        zeros = tf.zeros(n_clients)
        some = tf.TensorShape((None,))
        shapes = [tf.TensorShape((None, *shape)) for shape in layout.shapes[: layout.n_trainable]]
        _, params, losses, hits = tf.while_loop(
            lambda t, *_: t < tf.shape(places)[0],
            step,
            (0, anchor, zeros, zeros),
            shape_invariants=(tf.TensorShape(()), shapes, some, some),
            parallel_iterations=1,
        )
        return layout.join(params, statistics, n_lead=1) - start, losses, hits

    return run


class _Buffers:
    """The non-trainable variables as a list of tensors, made of statistics and a seed."""

    def __init__(self, model: keras.Model, layout: WeightLayout):
        self._places = {place: i for i, place in enumerate(layout.statistics)}
        self._others = [
            None if place in self._places or _is_seed(v) else tf.constant(v.value.numpy())
            for place, v in enumerate(model.non_trainable_variables)
        ]

    def __call__(self, statistics: list, seed) -> list:
        buffers = []
        for place, other in enumerate(self._others):
            if place in self._places:
                buffers.append(statistics[self._places[place]])
            elif other is not None:
                buffers.append(other)
            else:
                # generators of several layers must not draw the same
                buffers.append(seed + tf.constant([place, 0], tf.uint32))
        return buffers

    def statistics(self, buffers: list) -> list:
        """Those of a list of buffers."""
        return [buffers[place] for place in self._places]


def _is_seed(variable) -> bool:
    return tuple(variable.shape) == (2,) and str(variable.dtype) == "uint32"
