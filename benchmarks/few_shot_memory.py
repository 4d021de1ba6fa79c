"""Does memory stay flat over ten thousand tasks of a meta-training, and over many adaptations?

Digits of 8 x 8 and four convolutions of 16 filters, one process. Resident memory after every
hundredth task of prototypical networks: `value` is the growth from task 1,000 to task 10,000, as a
share. Then 200 calls of `adapt` each for prototypical networks and MAML, with as many rows as
they come: there `value` is the growth from the twentieth to the last.
"""

from __future__ import annotations

import logging

import numpy as np
import record
from sklearn.datasets import load_digits

QUESTION = "few_shot_memory"
FIRST_EPOCH, FIRST_CALL = 10, 20


class Gauge(logging.Handler):
    """Notes the memory after each epoch, which the library logs."""

    def __init__(self):
        super().__init__()
        self.memory: list[float] = []

    def emit(self, log_record):
        self.memory.append(record.resident_mib())


def learner_of(method: str, n_episodes: int, seed: int):
    from autokit import FewShotLearner
    from autokit.layers import conv4

    strided = method == "maml"
    return FewShotLearner(
        method,
        encoder=lambda shape: conv4(shape, filters=16, strided=strided),
        n_episodes=n_episodes,
        inner_learning_rate=0.1,
        random_state=seed,
    )


def training(X, y, n_episodes: int, seed: int):
    """Memory after each epoch, and what was trained."""
    gauge, log = Gauge(), logging.getLogger("autokit.meta")
    log.addHandler(gauge)
    log.setLevel(logging.INFO)
    try:
        learner = learner_of("prototypical", n_episodes, seed).fit(X, y)
    finally:
        log.removeHandler(gauge)
        log.setLevel(logging.NOTSET)
    return gauge.memory, learner


def adaptations(learner, X, y, n_calls: int, seed: int) -> list[float]:
    """Memory after each call."""
    rng, memory = np.random.default_rng(seed), []
    for _ in range(n_calls):
        classes = rng.choice(np.unique(y), 5, replace=False)
        shots = rng.integers(1, 11)
        rows = np.concatenate([rng.choice(np.flatnonzero(y == k), shots) for k in classes])
        learner.adapt(X[rows], y[rows]).predict(X[:32])
        memory.append(record.resident_mib())
    return memory


def note(data, method, seed, memory, first, every, cost):
    return record.write(
        QUESTION, method, data, seed, memory[-1] / memory[first - 1] - 1,
        grown_mib=memory[-1] - memory[first - 1], last_mib=memory[-1],
        memory_mib=[round(m, 1) for m in memory[every - 1 :: every]], **cost,
    )  # fmt: skip


def main():
    options = record.arguments(__doc__, seeds=1, episodes=10_000, calls=200)
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8)
    lines = []
    for seed in range(options.seeds):
        with record.measured() as cost:
            memory, learner = training(X, y, options.episodes, seed)
        lines.append(
            note(
                f"{options.episodes} tasks", "prototypical", seed, memory, FIRST_EPOCH, 10, cost
            )  # fmt: skip
        )
        for method in ("prototypical", "maml"):
            if method == "maml":
                learner = learner_of("maml", 320, seed).fit(X, y)
            with record.measured() as cost:
                memory = adaptations(learner, X, y, options.calls, seed)
            data = f"{options.calls} adaptations"
            lines.append(note(data, method, seed, memory, FIRST_CALL, 20, cost))
    print(record.table(lines, {"value": 4, "grown_mib": 1, "last_mib": 0, "cpu_seconds": 1}))
    for line in lines:
        print(line["data"], line["method"], *line["memory_mib"])


if __name__ == "__main__":
    main()
