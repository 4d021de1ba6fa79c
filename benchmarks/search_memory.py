"""Does the memory of a search stay flat over 100 trials?

Resident memory before every trial of a random search over perceptrons, one process. `value` is
the growth from the tenth trial, by when TensorFlow has its buffers, to the last, as a share;
`growth_from_first` counts from the very first.
"""

from __future__ import annotations

import record
from sklearn.datasets import load_iris


class Recorder:
    """A strategy around another that notes the memory whenever it is asked."""

    def __init__(self, inner, memory):
        self.inner, self.memory = inner, memory

    def ask(self, n):
        self.memory.append(record.resident_mib())
        return self.inner.ask(n)

    def tell(self, evaluations):
        self.inner.tell(evaluations)


def main():
    options = record.arguments(__doc__, seeds=1, trials=100)
    from autokit import NASClassifier
    from autokit.nas import RandomSearch

    X, y = load_iris(return_X_y=True)
    lines = []
    for seed in range(options.seeds):
        memory = []

        def strategy(space, rng, memory=memory):
            return Recorder(RandomSearch(space, rng), memory)

        search = NASClassifier(
            strategy=strategy,
            max_trials=options.trials,
            time_budget_s=None,
            epochs=3,
            random_state=seed,
        )
        with record.measured() as cost:
            search.fit(X, y)
        lines.append(
            record.write(
                "search_memory",
                f"{len(memory)} trials",
                "iris",
                seed,
                memory[-1] / memory[10] - 1,
                growth_from_first=memory[-1] / memory[0] - 1,
                memory_mib=[round(m) for m in memory[::10]],
                **cost,
            )
        )
    print(record.table(lines, {"value": 3, "growth_from_first": 3, "seconds": 1}))
    print("MiB every tenth trial:", *lines[-1]["memory_mib"])


if __name__ == "__main__":
    main()
