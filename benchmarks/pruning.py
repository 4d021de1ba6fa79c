"""What do 80 % zeros cost, against the same tuning without pruning?

`value` is the test accuracy. "sparse" and "dense" are one fitted network after further epochs at
one learning rate, once with and once without pruning; `points_lost` is their difference on a
hundred-point scale. The first 10,000 of MNIST's images train.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import record
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SPARSITY, RATE, SHARE = 0.8, 3e-3, 0.1


def networks(side: int) -> dict:
    """What makes each kind of network; more pixels have strided convolutions."""
    from autokit import layers
    from autokit._backend import keras

    def strided():
        parts = [keras.layers.Conv2D(n, 3, strides=2, activation="relu") for n in (16, 32)]
        parts += [keras.layers.Flatten(), keras.layers.Dense(10)]
        rows = [keras.Input((side, side)), keras.layers.Reshape((side, side, 1))]
        return keras.Sequential([*rows, *parts])

    def lstm():
        parts = [keras.layers.LSTM(64), keras.layers.Dense(10)]
        return keras.Sequential([keras.Input((side, side)), *parts])

    return {
        "MLP": lambda: layers.mlp((side, side), 10),
        "CNN": (lambda: layers.cnn((side, side), 10)) if side < 16 else strided,
        "LSTM": lstm,
    }


def data_sets(options) -> dict:
    """Arrays to train and test on, epochs of training and of tuning, and the batch size."""
    digits = load_digits()
    arrays = train_test_split(digits.images, digits.target, stratify=digits.target, random_state=0)
    found = {"digits": (arrays, 30, options.digits_epochs, 32)}
    path = record.data_file(options.data, "images/mnist.npz")
    if path is not None:
        with np.load(path) as file:
            names = ("x_train", "x_test", "y_train", "y_test")
            x, x_test, y, y_test = (file[name] for name in names)
        arrays = (x[:10_000] / np.float32(255), x_test / np.float32(255), y[:10_000], y_test)
        found["MNIST 10k"] = (arrays, options.mnist_epochs, options.mnist_epochs, 64)
    return found


def main():
    options = record.arguments(__doc__, seeds=3, digits_epochs=40, mnist_epochs=6, only="")
    from autokit import KerasClassifier
    from autokit._backend import keras
    from autokit.compression import Prune
    from autokit.compression.method import CompressionMethod, Outcome
    from autokit.compression.sparsity import cooled

    @dataclass(kw_only=True, eq=False, repr=False)
    class Tune(CompressionMethod):
        def _compress(self, task):
            task.tune(self.epochs, schedule=cooled)
            return Outcome(task.model)

    lines = []
    for data, (arrays, epochs, more, batch_size) in data_sets(options).items():
        x_train, x_test, y_train, y_test = arrays
        for kind, build in networks(x_train.shape[1]).items():
            if options.only not in f"{data} {kind}":
                continue
            for seed in range(options.seeds):
                keras.utils.set_random_seed(seed)
                fitted = KerasClassifier(
                    build(), epochs=epochs, batch_size=batch_size, random_state=seed
                ).fit(x_train, y_train)
                shared = {"epochs": more, "learning_rate": RATE, "validation_fraction": SHARE}
                scores = {}
                for name, method in {
                    "dense": Tune(**shared),
                    "sparse": Prune(sparsity=SPARSITY, **shared),
                }.items():
                    with record.measured() as cost:
                        made = method.compress(fitted, x_train, y_train)
                    report = made.compression_report_
                    scores[name] = made.score(x_test, y_test)
                    lines.append(
                        record.write(
                            "pruning",
                            f"{kind}, {name}",
                            data,
                            seed,
                            scores[name],
                            points_lost=100 * (scores["dense"] - scores[name]),
                            before=fitted.score(x_test, y_test),
                            zipped_kb=report.zipped_bytes_after / 1000,
                            sparsity=report.mean_sparsity,
                            **cost,
                        )
                    )
                    print(lines[-1], flush=True)
    columns = {"value": 4, "points_lost": 2, "zipped_kb": 1, "cpu_seconds": 1}
    print(record.table(lines, columns))


if __name__ == "__main__":
    main()
