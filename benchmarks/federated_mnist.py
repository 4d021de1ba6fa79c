"""Rounds to 97 % on MNIST: the protocol of McMahan et al. 2017, table 2.

100 clients of 600 images, 10 in a round, one local epoch in batches of 10, a perceptron of 2 x 200
units; test images after every round. "iid" deals the images out at random, "shards" sorts them by
digit and gives each client two shards of 300: most have two digits. `value` is the first round
with at least 97 % test accuracy; the paper, with the best learning rate of a grid for each, has 87
and 664.

``--tune`` runs the grid of learning rates with seed 100; the rates below are its best.

Goes on where it stopped: what is in the results with the same settings is not run again.
"""

from __future__ import annotations

import sys

import numpy as np
import record

QUESTION = "federated_mnist"
TARGET, LIMIT = 0.97, {"iid": 250, "shards": 1000}
PUBLISHED = {"iid": 87, "shards": 664}
# method -> partition -> client learning rate, and the algorithm's own settings
SETTINGS = {
    "fedavg": {"iid": (0.2, {}), "shards": (0.2, {})},
    "fedavgm": {"iid": (0.1, {"momentum": 0.7}), "shards": (0.1, {"momentum": 0.7})},
    "fedadam": {"iid": (0.1, {"learning_rate": 0.01}), "shards": (0.1, {"learning_rate": 0.01})},
    "scaffold": {"iid": (0.2, {}), "shards": (0.1, {})},
}


def mnist(path) -> tuple:
    """Training and test rows in [0, 1], and their digits."""
    with np.load(path) as file:
        x, y, x_test, y_test = (file[f"{n}_{p}"] for p in ("train", "test") for n in "xy")
    rows = [(part.reshape(len(part), -1) / 255).astype("float32") for part in (x, x_test)]
    return rows[0], y.astype(int), rows[1], y_test.astype(int)


def network(shape, n_outputs):
    """The paper's 2NN: 199,210 weights."""
    import keras

    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Dense(200, activation="relu"),
            keras.layers.Dense(200, activation="relu"),
            keras.layers.Dense(n_outputs, activation="softmax"),
        ]
    )


def run(path, partition: str, method: str, rate: float, settings: dict, seed: int) -> dict:
    """One training, until the target or the limit."""
    import keras

    from autokit import FederatedTrainer
    from autokit.federated import ALGORITHMS, partition_by_labels, partition_iid

    x, y, x_test, y_test = mnist(path)
    deal = partition_iid if partition == "iid" else partition_by_labels
    clients = deal(y, 100, random_state=seed)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = logs["val_score"] >= TARGET

    trainer = FederatedTrainer(
        network,
        ALGORITHMS[method](**settings),
        n_rounds=LIMIT[partition],
        clients_per_round=10,
        local_epochs=1,
        batch_size=10,
        client_learning_rate=rate,
        callbacks=Stop(),
        random_state=seed,
    )
    with record.measured() as cost:
        trainer.fit(x, y, client_ids=clients, validation_data=(x_test, y_test))
    scores = trainer.history_["val_score"]
    reached = next((i + 1 for i, score in enumerate(scores) if score >= TARGET), None)
    return {
        "value": reached,
        "rounds": len(scores),
        "best": max(scores),
        "rate": rate,
        "settings": settings,
        "mib_up": sum(trainer.history_["bytes_up"]) / 2**20,
        "cpu_seconds_per_round": cost["cpu_seconds"] / len(scores),
        **cost,
    }


def main() -> None:
    options = record.arguments(
        __doc__, seeds=1, first=0, methods="fedavg", partitions="iid,shards", tune="", limit=0
    )
    path = record.data_file(options.data, "images/mnist.npz")
    if path is None:
        sys.exit(1)
    if options.limit:
        LIMIT.update(dict.fromkeys(LIMIT, options.limit))
    for partition in options.partitions.split(","):
        for method in options.methods.split(","):
            rate, settings = SETTINGS[method][partition]
            if options.tune:
                for tried in map(float, options.tune.split(",")):
                    line = run(path, partition, method, tried, settings, 100)
                    record.write(f"{QUESTION}_tuning", f"{method} {tried}", partition, 100, **line)
                    print(partition, method, tried, line["value"], line["best"], flush=True)
                continue
            for seed in range(options.first, options.first + options.seeds):
                done = [
                    r
                    for r in record.read(QUESTION)
                    if (r["data"], r["method"], r["seed"], r["rate"], r["settings"])
                    == (partition, method, seed, rate, settings)
                ]
                if not done:
                    line = run(path, partition, method, rate, settings, seed)
                    record.write(
                        QUESTION, method, partition, seed, published=PUBLISHED[partition], **line
                    )
                    print(partition, method, seed, line["value"], line["best"], flush=True)
    print(record.table(record.latest(record.read(QUESTION)), {"value": 0, "cpu_seconds": 0}))


if __name__ == "__main__":
    main()
