"""Do a thousand and ten thousand clients cost linear time and flat memory?

Clients are functions that make their 100 rows of 20 features when a round asks for them; a
perceptron 20-64-32-3, batches of 20, one epoch, all clients in every round. `value` is CPU seconds
a client and round, the host's part and the making of rows included; `grown_mib` how much more
memory the process takes at the end of the last round than after the first; `peak_mib` more than
before the fit.
"""

from __future__ import annotations

import logging
import time

import numpy as np
import record

QUESTION = "federated_scale"
ROWS, ROUNDS = 100, 5
CENTERS = np.random.default_rng(0).normal(size=(3, 20))


class Gauge(logging.Handler):
    """Notes the memory and the clock after each round, which the library logs."""

    def __init__(self):
        super().__init__()
        self.memory, self.clock = [], []

    def emit(self, log_record):
        self.memory.append(record.resident_mib())
        self.clock.append(time.process_time())


def client(number: int):
    def rows():
        rng = np.random.default_rng([1, number])
        y = rng.integers(0, 3, ROWS)
        return (CENTERS[y] + rng.normal(size=(ROWS, 20))).astype("float32"), y

    return rows


def network(shape, n_outputs):
    import keras

    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(n_outputs, activation="softmax"),
        ]
    )


def run(n_clients: int, aggregator: str, seed: int) -> dict:
    from autokit import FederatedTrainer

    trainer = FederatedTrainer(
        network,
        n_rounds=ROUNDS,
        batch_size=20,
        client_learning_rate=0.1,
        aggregator=aggregator,
        random_state=seed,
    )
    gauge, log = Gauge(), logging.getLogger("autokit.federated")
    log.addHandler(gauge)
    log.setLevel(logging.INFO)
    before = record.resident_mib()
    try:
        with record.measured() as cost:
            trainer.fit_clients([client(i) for i in range(n_clients)])
    finally:
        log.removeHandler(gauge)
    rounds = np.diff(gauge.clock)
    return {
        "value": 1000 * float(np.mean(rounds)) / n_clients,
        "grown_mib": gauge.memory[-1] - gauge.memory[0],
        "peak_mib": max(gauge.memory) - before,
        "score": trainer.history_["score"][-1],
        **cost,
    }


def main() -> None:
    options = record.arguments(__doc__, seeds=1, clients="100,1000,10000")
    lines = []
    for seed in range(options.seeds):
        for n_clients in map(int, options.clients.split(",")):
            line = run(n_clients, "mean", seed)
            lines.append(record.write(QUESTION, "mean", f"{n_clients} clients", seed, **line))
    columns = {"value": 4, "grown_mib": 1, "peak_mib": 1, "cpu_seconds": 1}
    print(record.table(lines, columns))


if __name__ == "__main__":
    main()
