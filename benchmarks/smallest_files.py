"""How small can a file be at a given accuracy? Digits within 8 kB, MNIST within 30 kB zipped.

`compress` is asked for the size; the file it answers is exported, run in LiteRT and scored on rows
that took no part. `value` is the accuracy of the file.
"""

from __future__ import annotations

import tempfile
import zipfile
from functools import partial
from pathlib import Path

import keras
import numpy as np
import record
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def cases(folder):
    """Name, data, builder's settings, training epochs, and what is asked for."""
    digits = load_digits()
    images = digits.images[..., None].astype("float32") / 16
    data = train_test_split(images, digits.target, stratify=digits.target, random_state=0)
    yield "digits", data, {"stem_width": 16, "widths": (16, 32)}, 40, {"max_size_bytes": 8_000}
    path = record.data_file(folder, "images/mnist.npz")
    if path is not None:
        mnist = np.load(path)
        X, X_test = (mnist[k][..., None].astype("float32") / 255 for k in ("x_train", "x_test"))
        rows = np.random.default_rng(0).permutation(len(X))[:20_000]
        data = X[rows], X_test, mnist["y_train"][rows], mnist["y_test"]
        target = {"max_size_bytes": 30_000, "zipped": True, "max_score_drop": 0.003}
        yield "mnist, 20,000 rows", data, {"stem_width": 16, "widths": (16, 32, 64)}, 10, target


def main():
    options = record.arguments(__doc__, seeds=3, only="")
    from autokit import KerasClassifier, TFLiteModel, export_tflite, layers
    from autokit.compression import TargetNotMet, compress

    lines = []
    for data, (X, X_test, y, y_test), network, epochs, target in cases(options.data):
        if options.only not in data:
            continue
        for seed in range(options.seeds):
            build = partial(layers.cnn, block="plain", output_activation="softmax", **network)
            steps = epochs * -(-len(X) // 64)
            rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
            model = KerasClassifier(
                build, epochs=epochs, batch_size=64, learning_rate=rate, random_state=seed
            ).fit(X, y)
            model.learning_rate = 1e-3  # of the tuning that compress does
            with record.measured() as cost:
                try:
                    small = compress(
                        model, X, y, epochs=max(4, epochs // 2), random_state=seed, **target
                    )
                except TargetNotMet as error:
                    print(f"{data}, seed {seed}: {error}")
                    continue
            quantization = small.compression_report_.details["quantization"]
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "small.tflite"
                export_tflite(small, path, quantization=quantization, representative_data=X)
                archive = Path(folder) / "small.zip"
                with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
                    file.write(path, path.name)
                accuracy = float((TFLiteModel(path).predict(X_test) == y_test).mean())
                line = record.write(
                    "smallest_files",
                    "zipped size" if target.get("zipped") else "size",
                    data,
                    seed,
                    accuracy,
                    size_kb=path.stat().st_size / 1000,
                    zipped_kb=archive.stat().st_size / 1000,
                    keras_accuracy=model.score(X_test, y_test),
                    quantization=str(quantization),
                    n_weights=small.model_.count_params(),
                    **cost,
                )
            print({k: line[k] for k in ("data", "seed", "value", "size_kb", "zipped_kb",
                                        "quantization", "seconds")})  # fmt: skip
            lines.append(line)
    print(record.table(lines, {"value": 4, "keras_accuracy": 4, "size_kb": 1, "zipped_kb": 1}))


if __name__ == "__main__":
    main()
