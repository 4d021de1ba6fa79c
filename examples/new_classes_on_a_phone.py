"""New classes on a phone: a file that has learnt to learn digits, and five rows of each new one.

    python examples/new_classes_on_a_phone.py [FOLDER]

meta-trains on the digits 0 to 4 and writes a file. The file alone, in LiteRT, then learns the
digits 5 to 9, as `on_the_phone` shows: it embeds five rows of each, their means are all there is
to keep, and what is asked is compared with these.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from autokit import FewShotLearner, TFLiteModel, export_tflite

SHOTS = 5


def main(folder: Path, n_episodes: int = 300) -> dict[str, float]:
    """Meta-train, export, learn on the phone; accuracies on new digits, and the agreement."""
    X, y = load_digits(return_X_y=True)
    images = (X / 16).reshape(-1, 8, 8).astype(np.float32)
    known = y < 5
    learner = FewShotLearner(n_episodes=n_episodes, n_way=4, k_shot=SHOTS, random_state=0)
    learner.fit(images[known], y[known])
    folder.mkdir(parents=True, exist_ok=True)
    report = export_tflite(
        learner,
        folder / "digits.tflite",
        quantization="int8",
        representative_data=images[known][:300],
        signatures=("embed", "classify"),
        overwrite=True,
    )
    print(f"{report.path}: {report.size_bytes / 1000:.1f} kB, knows {learner.classes_.tolist()}")

    few = np.concatenate([np.flatnonzero(y == digit)[:SHOTS] for digit in range(5, 10)])
    asked = np.setdiff1d(np.flatnonzero(~known), few)
    classes, proba = on_the_phone(TFLiteModel(report.path), images[few], y[few], images[asked])
    answers = classes[proba.argmax(axis=1)]
    adapted = learner.adapt(images[few], y[few])
    results = {
        "file": np.mean(answers == y[asked]),
        "adapt": adapted.score(images[asked], y[asked]),
        "agreement": np.mean(answers == adapted.predict(images[asked])),
    }
    print(
        f"{SHOTS} rows each of {classes.tolist()}: accuracy of the file {results['file']:.4f}, of "
        f"learner.adapt {results['adapt']:.4f}; same answer for {results['agreement']:.2%}"
    )
    return results


def on_the_phone(file: TFLiteModel, X, y, asked) -> tuple[np.ndarray, np.ndarray]:
    """Learn rows `X` of classes `y` and answer for others: no training, only means."""
    classes = np.unique(y)
    prototypes = np.stack([file.embed(X[y == label]).mean(axis=0) for label in classes])
    return classes, file.classify(asked, prototypes)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "new-classes-on-a-phone"))
