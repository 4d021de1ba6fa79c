"""Small federations, and what their rounds give by a plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autokit._backend import keras, tf
from autokit.federated.aggregators import Mean
from autokit.federated.algorithms import FedAvg
from autokit.federated.protocols import Federation, ServerState
from autokit.federated.schedule import batches, client_seed
from autokit.federated.weights import WeightLayout
from autokit.training import Batch


class ListedClients:
    """Clients whose rows are in a list."""

    def __init__(self, data: list[Batch]) -> None:
        self.data = data
        self.names = [f"client-{i}" for i in range(len(data))]
        self.sizes = np.array([len(part) for part in data])

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, client: int) -> Batch:
        if isinstance(self.data[client], Exception):
            raise self.data[client]
        return self.data[client]


def mlp() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(8, "tanh"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def cnn() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, "softmax"),
        ]
    )


def lstm() -> keras.Model:
    return keras.Sequential(
        [keras.Input((5, 2)), keras.layers.LSTM(4), keras.layers.Dense(3, "softmax")]
    )


def linear() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def federation(build, sizes=(13, 7, 22), *, weighted_rows=False, **changes) -> Federation:
    """A federation with random rows; those of a network without a softmax have numbers to learn."""
    keras.utils.set_random_seed(0)
    model = build()
    rng = np.random.default_rng(1)
    shape = model.input_shape[1:]
    data = []
    for i, n in enumerate(sizes):
        x = rng.normal(size=(n, *shape)).astype(np.float32)
        if build is linear:
            y = (x[:, :2] * 2 + 1).astype(np.float32)
        else:
            y = rng.integers(0, 3, n).astype(np.int32)
        weight = rng.uniform(0.5, 2, n).astype(np.float32) if weighted_rows and i else None
        data.append(Batch(x, y, weight))
    squared = keras.losses.MeanSquaredError()
    given = Federation(
        model=model,
        loss=squared if build is linear else keras.losses.SparseCategoricalCrossentropy(),
        clients=ListedClients(data),
        algorithm=FedAvg(),
        aggregator=Mean(),
        learning_rate=0.1,
        local_epochs=1,
        batch_size=5,
        seed=3,
        layout=WeightLayout.of(model),
    )
    return replace(given, **changes)


def start(given: Federation) -> ServerState:
    return ServerState(given.layout.vector(given.model))


def reference(given: Federation, state: ServerState, chosen, *, limit=None) -> ServerState:
    """One round, a step after the other; `limit` is what becomes of each update."""
    deltas, counts = [], []
    for client in map(int, chosen):
        data = given.clients.batch(client)
        deltas.append(_trained(given, state, client, data) - state.weights)
        counts.append(len(data) if given.algorithm.weighted else 1)
    if limit is not None:
        deltas = [limit(delta) for delta in deltas]
    mean = np.average(np.stack(deltas).astype(np.float64), axis=0, weights=counts)
    mean = mean.astype(np.float32)
    n = given.layout.n_params
    params, rule = given.step.apply(state.weights[:n], mean[:n], state.rule)
    weights = np.concatenate([params, state.weights[n:] + mean[n:]])
    return replace(state, weights=weights, rule=rule, round=state.round + 1)


def _trained(given, state, client, data):
    model, layout = given.model, given.layout
    n = layout.n_trainable
    start = [tf.constant(part) for part in layout.arrays(state.weights)]
    params, statistics = start[:n], start[n:]
    seed = client_seed(given.seed, state.round, client).astype(np.int64)
    buffers = []
    for place, variable in enumerate(model.non_trainable_variables):
        if place in layout.statistics:
            buffers.append(statistics[layout.statistics.index(place)])
        else:
            buffers.append(tf.cast(seed + [place, 0], variable.dtype))
    whole = given.algorithm.whole_batch
    steps = batches(
        given.seed,
        state.round,
        client,
        len(data),
        local_epochs=1 if whole else given.local_epochs,
        batch_size=len(data) if whole else given.batch_size,
    )
    for places in steps:
        part = data.take(places)
        with tf.GradientTape() as tape:
            tape.watch(params)
            outputs, buffers, losses = model.stateless_call(
                params, buffers, tf.constant(part.x), training=True, return_losses=True
            )
            loss = given.loss(part.y, outputs, sample_weight=part.weight)
            loss += sum(losses)
            mu = getattr(given.algorithm, "mu", 0.0)
            loss += (
                mu
                / 2
                * sum(tf.reduce_sum((p - s) ** 2) for p, s in zip(params, start[:n], strict=True))
            )
        gradients = tape.gradient(loss, params)
        params = [p - given.learning_rate * g for p, g in zip(params, gradients, strict=True)]
    ends = [*params, *(buffers[place] for place in layout.statistics)]
    return np.concatenate([np.ravel(end) for end in ends])
