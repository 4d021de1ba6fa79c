"""Two digits at a time: what is forgotten without a memory, and what is kept with one.

    python examples/task_after_task.py [FOLDER]

learns scikit-learn's digits in five experiences, naively and with replay, stopping in the middle
to save and load; writes a picture of what each keeps, and a file for a phone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from autokit import ContinualModel, TFLiteModel, export_tflite, load, save


def main(folder: Path, epochs: int = 20) -> dict[str, float]:
    """Learn both ways; the accuracy of each on test rows of all ten digits."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    folder.mkdir(parents=True, exist_ok=True)
    accuracies = {}
    for strategy in ("naive", "replay"):
        model = ContinualModel(
            strategy=strategy, scenario="class", memory_size=200, epochs=epochs, random_state=0
        )
        for first in range(0, 10, 2):
            rows = (y_train == first) | (y_train == first + 1)
            model.partial_fit(X_train[rows], y_train[rows])
            # days later, in another process
            model = load(save(model, folder / f"{strategy}.autokit"))
        accuracies[strategy] = model.score(X_test, y_test)
        print(
            f"{strategy}: accuracy {accuracies[strategy]:.4f} on all digits; forgotten "
            f"{model.forgetting_:.4f}; {model.state_size_bytes_ / 1000:.0f} kB kept for later"
        )
        model.plot_forgetting(folder / f"{strategy}.png")
    export_tflite(model, folder / "digits.tflite", overwrite=True)
    same = TFLiteModel(folder / "digits.tflite").predict(X_test) == model.predict(X_test)
    print(f"the file answers as the model for {same.mean():.2%} of the test rows")
    return accuracies


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "task-after-task"))
