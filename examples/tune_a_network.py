"""Tune a keras-tuner function and the pipeline around it, stop in the middle, go on, look, export.

The function is keras-tuner's own kind, unchanged. The search keeps every finished trial in a file:
the first part of this script stops after a few seconds, as a crash or a closed laptop would; the
second goes on from the file. Runs in half a minute on two cores.

    python examples/tune_a_network.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import autokit
from autokit import KerasClassifier, TunerSearchCV
from autokit.tuning import Categorical, plot_optimization_history, plot_param_importances


def build(hp):
    """A perceptron for the digits, as keras-tuner's documentation would write it."""
    import keras

    model = keras.Sequential([keras.Input((64,)), keras.layers.Rescaling(1 / 16)])
    for _ in range(hp.Int("depth", 1, 2)):
        model.add(keras.layers.Dense(hp.Choice("width", [32, 64, 128]), activation="relu"))
    model.add(keras.layers.Dense(10, activation="softmax"))
    rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
    return model


def make_search(folder: Path, n_trials: int) -> TunerSearchCV:
    """The same search, so many trials long."""
    return TunerSearchCV(
        KerasClassifier(build, epochs=8),
        {"batch_size": Categorical([32, 64, 128])},  # beside what build(hp) asks for
        n_trials=n_trials,
        cv=3,
        storage=folder / "search.journal",
        random_state=0,
    )


def main(folder: Path, n_trials: tuple[int, int] = (6, 18)) -> None:
    """Search in two parts, then draw and export what was found."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    first = make_search(folder, n_trials[0]).fit(X_train, y_train)
    print(f"after {len(first.trials_)} trials: {first.best_score_:.4f}")
    search = make_search(folder, n_trials[1]).fit(X_train, y_train)
    pruned = (search.cv_results_["status"] == "pruned").sum()
    print(f"after {len(search.trials_)} trials ({pruned} pruned): {search.best_score_:.4f}")
    for name, value in search.best_params_.items():
        print(f"  {name} = {value}")
    print(f"on rows that the search has not seen: {search.score(X_test, y_test):.4f}")
    plot_optimization_history(search, folder / "history.png")
    plot_param_importances(search, folder / "importances.png")
    report = autokit.export_tflite(search, folder / "digits.tflite", representative_data=X_test)
    print(f"digits.tflite: {report.size_bytes / 1000:.1f} kB, agrees on {report.agreement:.2%}")


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "tuned")
    target.mkdir(parents=True, exist_ok=True)
    main(target)
