"""How many trials a minute, beside keras-tuner's random search over the same networks?

Both train the same random architectures of autokit's own space on digits, for the same epochs,
with the same batch size and optimizer, and score them on the same validation rows after every
epoch; only the machinery differs. `value` is trials per minute. The third row is the search as
`NASClassifier` does it, with rungs that end bad trials early.
"""

from __future__ import annotations

import tempfile

import numpy as np
import record
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

EPOCHS, BATCH_SIZE, RATE = 15, 64, 3e-3
PEER, OURS = "keras-tuner RandomSearch", "autokit, all epochs"


class Listed:
    """A strategy that proposes given architectures in order."""

    def __init__(self, architectures):
        self.architectures = list(architectures)

    def ask(self, n):
        proposals, self.architectures = self.architectures[:n], self.architectures[n:]
        return proposals

    def tell(self, evaluations):
        pass


def ours(space, architectures, data, schedule, seed):
    from autokit.nas import Task, TrainEvaluator
    from autokit.nas.search import run
    from autokit.training import Batch

    train, validation = (Batch(x, y) for x, y in data)
    task = Task(
        train, validation, train.x.shape[1:], 10, "softmax", "sparse_categorical_crossentropy"
    )
    evaluator = TrainEvaluator(space, task, batch_size=BATCH_SIZE, learning_rate=RATE)
    strategy = Listed(architectures)
    n = len(architectures)
    result = run(space, strategy, evaluator, schedule=schedule, max_trials=n, seed=seed)
    return result.best_score


def keras_tuners(space, architectures, data, seed):
    import keras
    import keras_tuner

    (X, y), validation = data

    def build(hp):
        architecture = architectures[hp.Int("architecture", 0, len(architectures) - 1)]
        model = space.build(architecture, X.shape[1:], 10, "softmax")
        model.compile(
            keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model

    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(
            build, "val_accuracy", max_trials=len(architectures), seed=seed, directory=folder
        )
        tuner.search(
            X, y, validation_data=validation, epochs=EPOCHS, batch_size=BATCH_SIZE, verbose=0
        )
        trials = tuner.oracle.trials.values()
        return max(t.score for t in trials)


def searches(space, architectures, data, seed) -> dict:
    """From a method to a function that searches and returns the best validation score."""
    from autokit.nas import FullTraining, SuccessiveHalving

    def with_schedule(schedule):
        return lambda: ours(space, architectures, data, schedule, seed)

    return {
        PEER: lambda: keras_tuners(space, architectures, data, seed),
        OURS: with_schedule(FullTraining(EPOCHS)),
        "autokit, with rungs": with_schedule(SuccessiveHalving(EPOCHS)),
    }


def main():
    options = record.arguments(__doc__, seeds=2, trials=20)
    from autokit.nas import CNNSpace, MLPSpace

    digits = load_digits()
    lines = []
    spaces = {"perceptrons": (MLPSpace(), digits.data), "CNNs": (CNNSpace(), digits.images)}
    for seed in range(options.seeds):
        for name, (space, rows) in spaces.items():
            rng = np.random.default_rng(seed)
            drawn = [space.sample(rng) for _ in range(options.trials)]
            architectures = list(dict.fromkeys(drawn))
            X, y = rows.astype("float32") / 16, digits.target.astype("int32")
            a, b, c, d = train_test_split(X, y, stratify=y, random_state=0)
            for method, search in searches(space, architectures, ((a, c), (b, d)), seed).items():
                with record.measured() as cost:
                    best = search()
                value = 60 * len(architectures) / cost["seconds"]
                data = f"digits, {name}"
                line = record.write("nas_speed", method, data, seed, value, best=best, **cost)
                lines.append(line)
                print(record.table([line], {"value": 1, "best": 4}).splitlines()[-1], flush=True)
    print(record.table(lines, {"value": 1, "cpu_seconds": 1, "best": 4}))
    for name in spaces:
        of = record.ratio(lines, "value", OURS, PEER, f"digits, {name}")
        print(f"digits, {name}: {of:.1f}x the trials a minute, the same epochs")


if __name__ == "__main__":
    main()
