"""What a round of federated averaging costs: embedded, TensorFlow Federated, and Keras in a loop.

10 and 100 clients of 100 rows, batches of 20, one local epoch, all clients in every round. "mlp":
20-64-32-3. "cnn": 8 x 8 pictures, two convolutions of 8 and 16 filters. `value` is CPU seconds a
round, those of TensorFlow Federated's processes included; methods alternate within one run, after
a first round of each that is not counted. keras: for each client the weights are set, and
`train_on_batch` called for each batch. `ratio` is the loop's cost by the method's.

TensorFlow Federated is left out where `autokit tff install` was not run, or with ``--tff 0``.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import numpy as np
import record

QUESTION = "federated_speed"
ROWS, BATCH, RATE = 100, 20, 0.1


def networks():
    import keras
    from keras import layers

    def mlp():
        return keras.Sequential(
            [
                keras.Input((20,)),
                layers.Dense(64, activation="relu"),
                layers.Dense(32, activation="relu"),
                layers.Dense(3, activation="softmax"),
            ]
        )

    def cnn():
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(8, 3, activation="relu"),
                layers.Conv2D(16, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(10, activation="softmax"),
            ]
        )

    return {"mlp": mlp, "cnn": cnn}


def federation_of(model, n_clients: int, seed: int):
    import keras

    from autokit.federated import FedAvg, Mean
    from autokit.federated.clients import ArrayClients
    from autokit.federated.protocols import Federation
    from autokit.federated.weights import WeightLayout
    from autokit.training import Batch

    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_clients * ROWS, *model.input_shape[1:])).astype("float32")
    y = rng.integers(0, model.output_shape[-1], len(x)).astype("int32")
    return Federation(
        model=model,
        loss=keras.losses.SparseCategoricalCrossentropy(),
        clients=ArrayClients(Batch(x, y), np.repeat(np.arange(n_clients), ROWS)),
        algorithm=FedAvg(),
        aggregator=Mean(),
        learning_rate=RATE,
        local_epochs=1,
        batch_size=BATCH,
        seed=seed,
        layout=WeightLayout.of(model),
    )


class Loop:
    """Federated averaging with nothing but Keras."""

    def __init__(self, federation, build):
        import keras

        self.federation, self.model = federation, build()
        self.model.compile(keras.optimizers.SGD(RATE), federation.loss)
        self.weights = self.model.get_weights()
        self.number = 0

    def round(self, chosen):
        from autokit.federated.schedule import batches

        federation, total = self.federation, None
        for client in chosen:
            self.model.set_weights(self.weights)
            data = federation.clients.batch(client)
            steps = batches(
                federation.seed, self.number, client, len(data), local_epochs=1, batch_size=BATCH
            )
            for rows in steps:
                self.model.train_on_batch(data.x[rows], data.y[rows])
            own = self.model.get_weights()
            total = own if total is None else [a + b for a, b in zip(total, own, strict=True)]
        self.weights = [part / len(chosen) for part in total]
        self.number += 1


def cpu_of(run) -> float:
    return time.process_time() + (run.cpu_seconds() if hasattr(run, "cpu_seconds") else 0.0)


def measure(build, n_clients: int, seed: int, with_tff: bool, repeats: int) -> dict[str, float]:
    """Mean CPU seconds of a round, by method."""
    from autokit.federated import EmbeddedEngine, TFFEngine
    from autokit.federated.protocols import ServerState

    model = build()
    federation = federation_of(model, n_clients, seed)
    state = ServerState(federation.layout.vector(model))
    chosen = np.arange(n_clients)
    rounds = {"embedded": 10, "keras": 1, "tff": 1}
    with ExitStack() as stack:
        runs = {
            "embedded": stack.enter_context(EmbeddedEngine().open(federation, state)),
            "keras": Loop(federation, build),
        }
        if with_tff:
            runs["tff"] = stack.enter_context(TFFEngine().open(federation, state))
        for run in runs.values():
            run.round(chosen)
        spent: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(repeats):
            for name, run in runs.items():
                before = cpu_of(run)
                for _ in range(rounds[name]):
                    run.round(chosen)
                spent[name].append((cpu_of(run) - before) / rounds[name])
    return {name: float(np.mean(values)) for name, values in spent.items()}


def main() -> None:
    options = record.arguments(__doc__, seeds=3, tff=1, repeats=3)
    with_tff = bool(options.tff)
    if with_tff:
        from autokit.federated.engines.tff.environment import folder, is_installed

        with_tff = is_installed(folder())
    lines = []
    for seed in range(options.seeds):
        for name, build in networks().items():
            for n_clients in (10, 100):
                costs = measure(build, n_clients, seed, with_tff, options.repeats)
                for method, cost in costs.items():
                    lines.append(
                        record.write(
                            QUESTION, method, f"{name}, {n_clients} clients", seed, cost,
                            ratio=costs["keras"] / cost,
                        )
                    )  # fmt: skip
    lines.sort(key=lambda line: line["data"])
    print(record.table(lines, {"value": 4, "ratio": 1}))


if __name__ == "__main__":
    main()
