"""A digit classifier as a file for Android and iOS that can go on learning there.

    python examples/digits_on_a_phone.py [FOLDER]

writes digits.tflite and labels, and prints the name, type and shape of every tensor. The snippets
phone/Digits.kt and phone/Digits.swift beside this script use exactly these.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from autokit import ExportReport, KerasClassifier, TFLiteModel, export_tflite, layers


def small_cnn(input_shape, n_outputs):
    """A network of 5,000 weights whose last layer sees 32 features."""
    return layers.cnn(
        input_shape, n_outputs, output_activation="softmax", stem_width=8, widths=(16, 32)
    )


def main(folder: Path, epochs: int = 15) -> ExportReport:
    """Train, export, and let the file learn mirrored digits."""
    X, y = load_digits(return_X_y=True)
    images = (X / 16).reshape(-1, 8, 8).astype(np.float32)
    X_train, X_test, y_train, y_test = train_test_split(images, y, stratify=y, random_state=0)
    classifier = KerasClassifier(small_cnn, epochs=epochs, learning_rate=0.01, random_state=0)
    classifier.fit(X_train, y_train)
    folder.mkdir(parents=True, exist_ok=True)
    report = export_tflite(
        classifier,
        folder / "digits.tflite",
        quantization="int8",
        representative_data=X_test,
        representative_target=y_test,
        signatures=("serve", "embed", "train_head", "infer"),
        overwrite=True,
    )
    print(f"{report.path}: {report.size_bytes / 1000:.1f} kB, {report.score.name}", end=" ")
    print(f"{report.score.value:.4f}, {report.latency_ms.median:.3f} ms a row")
    file = TFLiteModel(report.path)
    for line in tensor_lines(file):
        print(line)
    mirrored = X_train[:, :, ::-1], X_test[:, :, ::-1]
    before = np.mean(file.predict(mirrored[1]) == y_test)
    file.partial_fit(mirrored[0], y_train, epochs=30)
    after = np.mean(file.predict(mirrored[1]) == y_test)
    print(f"mirrored digits: accuracy {before:.4f}, after training in LiteRT {after:.4f}")
    return report


def tensor_lines(file: TFLiteModel) -> list[str]:
    """Spell every tensor as "serve input rows: float32 [n, 8, 8]"; n is any number of rows."""
    lines = []
    for signature, sides in file.metadata["signatures"].items():
        for side in ("inputs", "outputs"):
            for tensor in sides[side]:
                sizes = ", ".join("n" if size is None else str(size) for size in tensor["shape"])
                name = f"{signature} {side[:-1]} {tensor['name']}"
                lines.append(f"{name}: {tensor['dtype']} [{sizes}]")
    return lines


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "digits-on-a-phone"))
