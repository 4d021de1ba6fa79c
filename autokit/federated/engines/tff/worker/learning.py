"""One federation as a learning process of TensorFlow Federated."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any

import aggregation
import numpy as np
import optimizers
import tensorflow as tf
import tensorflow_federated as tff

# What a client tells of a round; `position` stays -1 if TFF has dropped its update.
_POSITION, _LOSS, _HITS, _MET, _BAD = range(5)


class Learning:
    """A learning process, and what goes in and out of it.

    Parameters
    ----------
    spec : dict
        Written by `autokit.federated.engines.tff.engine`.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._shapes = [tuple(shape) for shape in spec["shapes"]]
        self._n = spec["n_trainable"]
        # the module holds the functions
        self._module = tf.saved_model.load(spec["module"])
        step = _without_captures(self._module.step)
        self._process = _process(spec, self._shapes, step)
        self._start = self._process.initialize()

    def round(self, clients: Sequence[str], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one round.

        Parameters
        ----------
        clients : sequence of str
            Where the rows of each are.
        arrays : dict of str to np.ndarray
            ``weights``, ``rule.*`` and ``aggregator.*`` of the round before, and the steps of all
            clients behind each other: ``order`` (places of rows), ``ends`` (of each step in it),
            ``last`` (of each client's steps), ``seeds``.

        Returns
        -------
        dict of str to np.ndarray
            ``weights``, ``rule.*``, ``aggregator.*`` after the round; ``positions`` of the clients
            that took part, and sums of their ``losses``, ``hits`` and rows ``met``.
        """
        data = self._data(clients, arrays)
        state, metrics = self._process.next(self._state(arrays), data)
        answers = np.reshape(metrics["client_work"]["train"], (-1, 5))
        good = (answers[:, _POSITION] >= 0) & (answers[:, _BAD] == 0)
        answers = answers[good].astype(np.float64)
        weights = [np.ravel(w) for w in state.global_model_weights.trainable]
        return {
            "weights": np.concatenate([*weights, np.zeros(0, np.float32)]).astype(np.float32),
            "positions": answers[:, _POSITION].astype(np.int64),
            "losses": answers[:, _LOSS],
            "hits": answers[:, _HITS],
            "met": answers[:, _MET],
            **_numbered("rule", self._rule_of(state.finalizer)),
            **_numbered("aggregator", map(np.asarray, tf.nest.flatten(state.aggregator))),
        }

    def _state(self, arrays: dict[str, np.ndarray]):
        start = self._start
        aggregator = _listed("aggregator", arrays)
        if aggregator:
            leaves = [leaf.item() if leaf.dtype.kind in "SU" else leaf for leaf in aggregator]
            aggregator = tf.nest.pack_sequence_as(start.aggregator, leaves)
        weights = tff.learning.models.ModelWeights(
            tuple(_split(arrays["weights"], self._shapes)), ()
        )
        return tff.learning.templates.LearningAlgorithmState(
            global_model_weights=weights,
            distributor=start.distributor,
            client_work=start.client_work,
            aggregator=aggregator or start.aggregator,
            finalizer=self._finalizer_of(_listed("rule", arrays)),
        )

    def _rule_of(self, finalizer) -> list[np.ndarray]:
        """The state of a server's rule, as `autokit.training.updates` keeps it."""
        parts = {
            name: np.concatenate([np.ravel(part) for part in finalizer[name]])
            for name in ("accumulator", "preconditioner")
            if name in finalizer
        }
        if not parts:
            return []
        if "preconditioner" not in parts:
            # there the learning rate is in the velocity
            rate = np.float32(self._spec["settings"]["learning_rate"])
            return [-rate * parts["accumulator"]]
        return [np.float32(finalizer["step"]), parts["accumulator"], parts["preconditioner"]]

    def _finalizer_of(self, rule: list[np.ndarray]):
        finalizer = self._start.finalizer
        if not rule:
            return finalizer
        shapes = self._shapes[: self._n]
        finalizer = collections.OrderedDict(finalizer)
        if len(rule) == 1:
            rate = np.float32(self._spec["settings"]["learning_rate"])
            finalizer["accumulator"] = tuple(_split(-rule[0] / rate, shapes))
            return finalizer
        step, first, second = rule
        finalizer["step"] = np.int32(step)
        finalizer["accumulator"] = tuple(_split(first, shapes))
        finalizer["preconditioner"] = tuple(_split(second, shapes))
        return finalizer

    def _data(self, clients: Sequence[str], arrays: dict[str, np.ndarray]) -> list:
        ends, last = arrays["ends"], arrays["last"]
        data = []
        first_step = 0
        for position, (path, last_step) in enumerate(zip(clients, last, strict=True)):
            begins = np.concatenate([[0], ends])[first_step:last_step]
            steps = (begins, ends[first_step:last_step], arrays["seeds"][first_step:last_step])
            begin = begins[0] if len(begins) else 0
            order = arrays["order"][begin : steps[1][-1] if len(begins) else 0]
            steps = (steps[0] - begin, steps[1] - begin, steps[2])
            data.append(_dataset(self._spec, path, position, order, steps))
            first_step = last_step
        return data


def _without_captures(function):
    """The function with the constants that it captured inside it: TFF's graphs cannot capture."""
    (concrete,) = function.concrete_functions
    constants = [tensor.numpy() for tensor in concrete.captured_inputs]

    def step(*tensors):
        # private, but of a version that is pinned; there is no public way
        return concrete._call_flat(list(tensors), [tf.constant(c) for c in constants])

    return step if constants else function


def _split(vector: np.ndarray, shapes: Sequence[tuple]) -> list[np.ndarray]:
    places = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    parts = np.split(np.asarray(vector, np.float32), places) if shapes else []
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _numbered(name: str, arrays) -> dict[str, np.ndarray]:
    return {f"{name}.{i}": array for i, array in enumerate(arrays)}


def _listed(name: str, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    n = sum(key.startswith(f"{name}.") for key in arrays)
    return [arrays[f"{name}.{i}"] for i in range(n)]


def _dataset(spec, path: str, position: int, order: np.ndarray, steps: tuple):
    """The batches of a client: its rows are read where they are trained on."""
    parts = {name: spec[name] for name in ("rows", "targets", "weights") if name in spec}

    def read(path):
        return {
            name: tf.reshape(
                tf.io.decode_raw(tf.io.read_file(path + "." + name), part["dtype"]),
                [-1, *part["shape"]],
            )
            for name, part in parts.items()
        }

    def batches(arrays):
        def batch(begin, end, seeds):
            places = order[begin:end]
            x = {name: tf.gather(array, places) for name, array in arrays.items()}
            x = collections.OrderedDict(sorted(x.items()))
            x["seeds"], x["position"] = seeds, position
            return x, position

        return tf.data.Dataset.from_tensor_slices(steps).map(batch)

    order, position = tf.constant(order, tf.int32), tf.constant(position, tf.int32)
    steps = (*(tf.constant(part, tf.int32) for part in steps[:2]), tf.constant(steps[2], tf.int64))
    data = tf.data.Dataset.from_tensors(path).map(read).flat_map(batches)
    return data.with_options(_options())


def _options():
    """Rewriting a pipeline for speed takes longer than such a short one runs."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options


def _input_spec(spec):
    x = collections.OrderedDict(
        sorted(
            (name, tf.TensorSpec([None, *spec[name]["shape"]], spec[name]["dtype"]))
            for name in ("rows", "targets", "weights")
            if name in spec
        )
    )
    x["seeds"] = tf.TensorSpec([spec["n_generators"], 2], tf.int64)
    x["position"] = tf.TensorSpec([], tf.int32)
    return x, tf.TensorSpec([], tf.int32)


def _process(spec, shapes, step):
    """The process of `tff.learning.algorithms` that a spec describes."""
    n = spec["n_trainable"]

    @tf.function
    def predict(weights, x, training):
        weights = weights[0]
        extra = [x["weights"]] if "weights" in x else []
        answer = step(*weights, x["rows"], x["targets"], x["seeds"], *extra)
        gradients = [
            *answer["gradients"],
            *(old - new for old, new in zip(weights[n:], answer["statistics"], strict=True)),
        ]
        # A loss with these gradients: they were derived where the network lives.
        loss = tf.add_n(
            [
                tf.reduce_sum(w * tf.stop_gradient(g))
                for w, g in zip(weights, gradients, strict=True)
            ]
        )
        rows = tf.zeros([tf.shape(x["rows"])[0]])
        return rows, loss, answer["told"], tf.cast(x["position"], tf.float32)

    @tf.function
    def nothing_met():
        return (tf.constant([-1.0, 0.0, 0.0, 0.0, 0.0]),)

    @tf.function
    def met(state, labels, batch_output, sample_weight=None):
        _, _, told, position = batch_output.predictions
        return (tf.concat([[position], state[0][1:] + told], axis=0),)

    model = tff.learning.models.FunctionalModel(
        initial_weights=(tuple(np.zeros(shape, np.float32) for shape in shapes), ()),
        predict_on_batch_fn=predict,
        loss_fn=lambda output, label, sample_weight=None: output[1],
        metrics_fns=(nothing_met, met, tf.function(lambda state: state)),
        input_spec=_input_spec(spec),
    )
    weighting = tff.learning.ClientWeighting
    rule = optimizers.server_rule(spec["rule"], spec["settings"])
    if len(shapes) > n:
        rule = optimizers.ServerRule(rule, n)
    return tff.learning.algorithms.build_weighted_fed_avg(
        model,
        client_optimizer_fn=optimizers.ClientSGD(spec["learning_rate"], n, spec["proximal"]),
        server_optimizer_fn=rule,
        # Not `build_unweighted_...`: there a dropped client counts as one that has learnt nothing.
        client_weighting=weighting.NUM_EXAMPLES if spec["weighted"] else weighting.UNIFORM,
        model_aggregator=aggregation.factory(spec["aggregator"]),
        metrics_aggregator=lambda finalizers: _collected,
    )


def _collected(answers):
    """What every client tells, behind each other."""
    return tff.federated_aggregate(
        answers[0], _none(), _accumulate, _merge, tff.tensorflow.computation(lambda a: a, _ANSWERS)
    )


_ANSWERS = tff.TensorType(np.float32, [None, 5])


@tff.tensorflow.computation
def _none():
    return tf.zeros([0, 5])


@tff.tensorflow.computation(_ANSWERS, tff.TensorType(np.float32, [5]))
def _accumulate(answers, answer):
    return tf.concat([answers, answer[None]], axis=0)


@tff.tensorflow.computation(_ANSWERS, _ANSWERS)
def _merge(some, others):
    return tf.concat([some, others], axis=0)
