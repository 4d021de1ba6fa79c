"""Local training of many clients in one compiled function.

Nothing is traced again from round to round, nor for another federation with the same architecture,
loss and algorithm.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autokit._backend import keras, tf
from autokit.federated.engines.local import all_at_once, one_by_one, parts_of
from autokit.federated.engines.side_by_side import is_side_by_side, with_patches
from autokit.federated.protocols import Broadcast, Federation, Updates
from autokit.federated.schedule import batches, client_seed, lots
from autokit.training import Batch, TensorBatch
from autokit.training.program import is_ours
from autokit.training.programs import architecture_key, exact_text

KEPT_COLLECTORS = 4


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
    private = federation.privacy
    draw = batches if private is None or private.hides_clients else lots
    steps = draw(
        federation.local_seed,
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
        n, size = len(work), (None, None)
        if self.side_by_side:
            size = self._traces.room(n, max(len(step) for part in work for step in part.steps))
            plan = _grid(work, first, size)
            given = {k: np.pad(v, ((0, size[0] - n), (0, 0))) for k, v in given.items()}
        else:
            plan = _line(work, first, self.federation.local_seed, broadcast.round)
        private = self.federation.privacy
        if private is not None and not private.hides_clients:
            n_rows = np.array([len(part.data) for part in work])
            batch_size, noise = self.federation.batch_size, broadcast.row_noise
            given["lots"] = private.lots(n_rows, batch_size, noise)
        run = self._traces.get(rows, tuple(given), size)
        rate = np.float32(self.federation.learning_rate)
        tensors = (*parts_of(rows), broadcast.weights, rate, *plan, *given.values())
        results = run(*map(tf.convert_to_tensor, tensors))
        deltas, losses, hits = (result.numpy()[:n] for result in results)
        return Updates(
            clients=np.array([part.client for part in work]),
            deltas=deltas,
            n_rows=np.array([len(part.data) for part in work]),
            n_steps=np.array([len(part.steps) for part in work]),
            losses=losses.astype(float),
            hits=hits.astype(float),
            n_met=np.array([sum(map(len, part.steps)) for part in work]),
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


def _grid(work: Sequence[Work], first: np.ndarray, size: tuple[int, int]) -> tuple:
    """Places of rows, (n_steps, n_clients, batch), and how many of a batch are real."""
    n_clients, width = size
    n_steps = max(len(part.steps) for part in work)
    sizes = np.zeros((n_clients, n_steps), np.int32)
    for k, part in enumerate(work):
        sizes[k, : len(part.steps)] = [len(step) for step in part.steps]
    places = np.zeros((n_clients, n_steps, width), np.int32)
    is_real = np.arange(width) < sizes[..., None]
    places[is_real] = np.concatenate([step for part in work for step in part.steps])
    places[: len(work)] += first[:, None, None]
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
        if side_by_side:
            model = keras.models.clone_model(model, clone_function=with_patches)
        elif own_copy:
            model = model.__class__.from_config(model.get_config())
        make, self._plan = (all_at_once, _grid_specs) if side_by_side else (one_by_one, _line_specs)
        self._sizes: set[tuple[int, int]] = set()
        loss, algorithm, layout = federation.loss, federation.algorithm, federation.layout
        # not of the federation: traces outlive it, and its clients' rows
        self._make = lambda names: make(model, loss, algorithm, layout, names)
        self._layout = layout
        self._concrete: dict = {}
        self._lock = threading.Lock()

    def room(self, n_clients: int, width: int) -> tuple[int, int]:
        """A size of grid for so many clients and rows of a batch.

        A trace is for one size, in which TensorFlow finds its constants. A size that was traced
        before, and is little larger than what is needed, will do.
        """
        with self._lock:
            fitting = [
                (n, w)
                for n, w in self._sizes
                if n_clients <= n <= 1.25 * n_clients and width <= w <= 1.25 * width
            ]
            if fitting:
                return min(fitting)
            # where sizes change from round to round, more are to come
            margin = 1.1 if self._sizes else 1.0
            size = math.ceil(n_clients * margin), width
            self._sizes.add(size)
            return size

    def get(self, rows: TensorBatch, names: tuple[str, ...], size: tuple):
        """The function for rows of this kind; traced once."""
        specs = [tf.TensorSpec((None, *p.shape[1:]), p.dtype) for p in parts_of(rows)]
        key = (*((s.dtype, tuple(s.shape)) for s in specs), names, size)
        with self._lock:
            if key not in self._concrete:
                layout = self._layout
                weights = tf.TensorSpec((layout.size,), tf.float32)
                widths = {"corrections": layout.n_params, "starts": layout.size, "lots": 3}
                function = tf.function(_with_rows(self._make(names), len(specs)), autograph=False)
                self._concrete[key] = function.get_concrete_function(
                    *specs,
                    weights,
                    tf.TensorSpec((), tf.float32),
                    *self._plan(*size),
                    *(tf.TensorSpec((size[0], widths[name]), tf.float32) for name in names),
                )
            return self._concrete[key]


def _with_rows(run, n_parts: int):
    def function(*tensors):
        rows = TensorBatch(*tensors[:n_parts])
        return run(rows, *tensors[n_parts:])

    return function


def _grid_specs(n_clients: int, width: int) -> tuple:
    return (
        tf.TensorSpec((None, n_clients, width), tf.int32),
        tf.TensorSpec((None, n_clients), tf.int32),
    )


def _line_specs(*_) -> tuple:
    places = tf.TensorSpec((None,), tf.int32)
    return places, places, places, tf.TensorSpec((None, 2), tf.uint32)


_kept: OrderedDict[str, _Traces] = OrderedDict()
_kept_lock = threading.Lock()


def _traces_of(federation: Federation, side_by_side: bool) -> _Traces:
    """Those of an equal federation, if there was one."""
    key = _key(federation, side_by_side)
    if key is None:
        return _Traces(federation, side_by_side, own_copy=False)
    with _kept_lock:
        if key not in _kept:
            _kept[key] = _Traces(federation, side_by_side, own_copy=True)
        _kept.move_to_end(key)
        while len(_kept) > KEPT_COLLECTORS:
            _kept.popitem(last=False)
        return _kept[key]


def _key(federation: Federation, side_by_side: bool) -> str | None:
    """What two federations must agree in to share traces; None where that cannot be told."""
    loss, algorithm = federation.loss, federation.algorithm
    # a class of the user's may be another by now, under the same name
    if not (is_ours(loss) and is_ours(algorithm)) or hasattr(loss, "function"):
        return None
    architecture = architecture_key(federation.model)
    kinds = [type(algorithm).__name__, type(loss).__name__]
    rest = exact_text([*kinds, algorithm.get_params(), loss.get_config(), side_by_side])
    return None if architecture is None or rest is None else architecture + rest
